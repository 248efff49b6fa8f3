import Alert from "@cloudscape-design/components/alert";
import AttributeEditor from "@cloudscape-design/components/attribute-editor";
import Checkbox from "@cloudscape-design/components/checkbox";
import FormField from "@cloudscape-design/components/form-field";
import Input from "@cloudscape-design/components/input";
import Select from "@cloudscape-design/components/select";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Textarea from "@cloudscape-design/components/textarea";
import { ComputeTypeValues, type ComputeType, type CreateProjectInput, type EnvironmentType, type EnvironmentVariable, type EnvironmentVariableType } from "../api.gen";
import { Text } from "../ui/text";
import type { Problems } from "./draft";
import { Folded } from "./folded";
import { optional } from "./source";

const computes: Partial<Record<ComputeType, string>> = {
  BUILD_GENERAL1_SMALL: "Small (BUILD_GENERAL1_SMALL)",
  BUILD_GENERAL1_MEDIUM: "Medium (BUILD_GENERAL1_MEDIUM)",
  BUILD_GENERAL1_LARGE: "Large (BUILD_GENERAL1_LARGE)",
  BUILD_GENERAL1_XLARGE: "XLarge (BUILD_GENERAL1_XLARGE)",
  BUILD_GENERAL1_2XLARGE: "2XLarge (BUILD_GENERAL1_2XLARGE)",
};

const kinds: Partial<Record<EnvironmentType, string>> = { LINUX_CONTAINER: "Linux (x86-64)", ARM_CONTAINER: "Linux (ARM)" };

const variableTypes: Record<EnvironmentVariableType, string> = { PLAINTEXT: "Plaintext", PARAMETER_STORE: "Parameter", SECRETS_MANAGER: "Secrets Manager" };

/** Minutes as hours and minutes, two fields that are one number. */
function Span({ minutes, onChange, label, description, problem, usual }: { minutes: number | undefined; onChange: (m: number | undefined) => void; label: string; description: string; problem?: string; usual: number }) {
  return (
    <FormField
      label={
        <>
          {label} <i>- optional</i>
        </>
      }
      description={description}
      errorText={problem && <Text>{problem}</Text>}
    >
      <Input
        type="number"
        inputMode="numeric"
        value={minutes === undefined ? "" : String(minutes)}
        placeholder={String(usual)}
        onChange={(e) => onChange(e.detail.value === "" ? undefined : Math.trunc(Number(e.detail.value)))}
      />
    </FormField>
  );
}

/** Where the build runs, and for how long. */
export function EnvironmentFields({ project, onChange, problems, executor }: { project: CreateProjectInput; onChange: (patch: Partial<CreateProjectInput>) => void; problems: Problems; executor: string | undefined }) {
  const e = project.environment;
  const set = (patch: Partial<typeof e>) => onChange({ environment: { ...e, ...patch } });
  const variables = e.environmentVariables ?? [];
  const plainSecret = variables.some((v) => (v.type ?? "PLAINTEXT") === "PLAINTEXT" && /secret|token|password|api_?key/i.test(v.name));
  const problem = (path: string) => problems[path] && <Text>{problems[path]}</Text>;
  const setVariable = (i: number, patch: Partial<EnvironmentVariable>) => set({ environmentVariables: variables.map((v, j) => (j === i ? { ...v, ...patch } : v)) });
  return (
    <SpaceBetween size="l">
      <FormField
        label="Environment image"
        description={executor ? `Where builds run on this server: ${executor.split(":")[0]}. Without containers, the image is only noted, and builds have this machine's programs.` : undefined}
        errorText={problem("environment.image")}
      >
        <Input value={e.image} onChange={(ev) => set({ image: ev.detail.value })} spellcheck={false} />
      </FormField>
      <FormField label="Environment type" errorText={problem("environment.type")}>
        <Select
          selectedOption={{ value: e.type, label: kinds[e.type] ?? e.type }}
          options={[...new Set([...Object.keys(kinds), e.type])].map((v) => ({ value: v, label: kinds[v as EnvironmentType] ?? v }))}
          onChange={(ev) => set({ type: ev.detail.selectedOption.value as EnvironmentType })}
        />
      </FormField>
      <FormField label="Compute" errorText={problem("environment.computeType")}>
        <Select
          selectedOption={{ value: e.computeType, label: computes[e.computeType] ?? e.computeType }}
          options={ComputeTypeValues.filter((c) => computes[c] || c === e.computeType).map((v) => ({ value: v, label: computes[v] ?? v }))}
          onChange={(ev) => set({ computeType: ev.detail.selectedOption.value as ComputeType })}
        />
      </FormField>
      <FormField label="Service role" description="The ARN of a role in this account. The API wants one; this server has no roles, so that it is only noted." errorText={problem("serviceRole")}>
        <Input value={project.serviceRole} onChange={(ev) => onChange({ serviceRole: ev.detail.value })} spellcheck={false} />
      </FormField>
      <Folded
        title="Additional configuration"
        description="Timeouts, privileged mode, environment variables"
        open={variables.length > 0}
        problems={problems}
        about={/^(timeoutInMinutes|queuedTimeoutInMinutes|environment\.(environmentVariables|certificate|privilegedMode))/}
      >
        <SpaceBetween size="l">
          <Span label="Timeout" usual={60} description="Minutes after which a build is ended, from 5 to 2160. By default 60." minutes={project.timeoutInMinutes} onChange={(timeoutInMinutes) => onChange({ timeoutInMinutes })} problem={problems["timeoutInMinutes"]} />
          <Span label="Queued timeout" usual={480} description="Minutes that a build waits in the queue, from 5 to 480. By default 480." minutes={project.queuedTimeoutInMinutes} onChange={(queuedTimeoutInMinutes) => onChange({ queuedTimeoutInMinutes })} problem={problems["queuedTimeoutInMinutes"]} />
          <FormField label="Privileged">
            <Checkbox checked={e.privilegedMode ?? false} onChange={(ev) => set({ privilegedMode: ev.detail.checked || undefined })} description="The sandbox has no such mode, and notes it only.">
              Enable this flag if you want to build Docker images or want your builds to get elevated privileges
            </Checkbox>
          </FormField>
          <FormField label="Environment variables" errorText={problem("environment.environmentVariables")} stretch>
            {plainSecret && (
              <Alert type="warning">Everyone who sees the project can read a plaintext variable. Keep what is secret in Secrets Manager or Parameter Store, and name it here.</Alert>
            )}
            <AttributeEditor
              items={variables}
              addButtonText="Add environment variable"
              removeButtonText="Remove"
              removeButtonAriaLabel={(v: EnvironmentVariable) => `Remove environment variable ${v.name}`}
              empty="There are none."
              onAddButtonClick={() => set({ environmentVariables: [...variables, { name: "", value: "", type: "PLAINTEXT" }] })}
              onRemoveButtonClick={(ev) => set({ environmentVariables: variables.filter((_, i) => i !== ev.detail.itemIndex) })}
              definition={[
                {
                  label: "Name",
                  control: (v, i) => <Input value={v.name} onChange={(ev) => setVariable(i, { name: ev.detail.value })} spellcheck={false} ariaLabel={`Name of variable ${i + 1}`} />,
                  errorText: (_, i) => problem(`environment.environmentVariables.${i + 1}.member.name`),
                },
                {
                  label: "Value",
                  control: (v, i) => {
                    const Field = /[\n\r]/.test(v.value ?? "") ? Textarea : Input; // which would join the lines
                    return (
                      <Field
                        value={v.value ?? ""}
                        onChange={(ev) => setVariable(i, { value: ev.detail.value })}
                        spellcheck={false}
                        ariaLabel={`Value of variable ${i + 1}`}
                        placeholder={v.type === "PARAMETER_STORE" ? "Name of the parameter" : v.type === "SECRETS_MANAGER" ? "SECRET:JSON-KEY" : ""}
                      />
                    );
                  },
                  errorText: (_, i) => problem(`environment.environmentVariables.${i + 1}.member.value`),
                },
                {
                  label: "Type",
                  control: (v, i) => (
                    <Select
                      selectedOption={{ value: v.type ?? "PLAINTEXT", label: variableTypes[v.type ?? "PLAINTEXT"] }}
                      options={Object.entries(variableTypes).map(([value, label]) => ({ value, label }))}
                      onChange={(ev) => setVariable(i, { type: ev.detail.selectedOption.value as EnvironmentVariableType })}
                      ariaLabel={`Type of variable ${i + 1}`}
                    />
                  ),
                },
              ]}
            />
          </FormField>
          <FormField
            label={
              <>
                Certificate <i>- optional</i>
              </>
            }
            description="The bucket and key of a certificate that builds trust."
            errorText={problem("environment.certificate")}
          >
            <Input value={e.certificate ?? ""} onChange={(ev) => set({ certificate: optional(ev.detail.value) })} spellcheck={false} />
          </FormField>
        </SpaceBetween>
      </Folded>
    </SpaceBetween>
  );
}
