import Alert from "@cloudscape-design/components/alert";
import AttributeEditor from "@cloudscape-design/components/attribute-editor";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import FormField from "@cloudscape-design/components/form-field";
import Input from "@cloudscape-design/components/input";
import Modal from "../ui/modal";
import Select from "@cloudscape-design/components/select";
import SpaceBetween from "@cloudscape-design/components/space-between";
import { useState, type ReactNode } from "react";
import { useNavigate } from "react-router";
import { useAction, useCall } from "../api";
import { ComputeTypeValues, EnvironmentVariableTypeValues, type Build, type ComputeType, type EnvironmentVariable, type EnvironmentVariableType } from "../api.gen";
import { words } from "../project/webhook";
import { Editor, useRested, type Mark } from "../ui/editor";
import { describe, flash } from "../ui/flash";
import { Text } from "../ui/text";
import { buildPath } from "./actions";

const optional = (label: string): ReactNode => (
  <>
    {label} <i>- optional</i>
  </>
);

/** Starts a build of a project otherwise than it is configured; like says with which values the form begins. */
export function StartWithOverrides({ project, like, onClose }: { project: string; like?: Build; onClose: () => void }) {
  const navigate = useNavigate();
  const start = useAction("StartBuild");
  const [version, setVersion] = useState(like?.sourceVersion ?? "");
  const [variables, setVariables] = useState<EnvironmentVariable[]>(like?.environment?.environmentVariables ?? []);
  const [image, setImage] = useState("");
  const [compute, setCompute] = useState<ComputeType>();
  const [timeout, setTimeoutMinutes] = useState("");
  const [buildspec, setBuildspec] = useState("");
  const rested = useRested(buildspec, 400);
  const checked = useCall("CheckBuildspec", { buildspec: rested }, { skip: !rested.includes("\n"), keep: true });
  const marks: Mark[] = buildspec.includes("\n") ? (checked.data?.problems ?? []).map((p) => ({ line: p.line ?? 1, column: p.column, severity: p.severity ?? "ERROR", message: p.message ?? "" })) : [];
  const set = (i: number, patch: Partial<EnvironmentVariable>) => setVariables(variables.map((v, j) => (j === i ? { ...v, ...patch } : v)));

  const nameless = (v: EnvironmentVariable) => !v.name.trim() && !!v.value;
  const [tried, setTried] = useState(false);

  function go() {
    setTried(true);
    if (variables.some(nameless)) return;
    const named = variables.filter((v) => v.name.trim()); // a row that nobody filled in is none
    start.mutate(
      {
        projectName: project,
        ...(version.trim() && { sourceVersion: version.trim() }),
        ...(named.length && { environmentVariablesOverride: named.map((v) => ({ ...v, name: v.name.trim(), value: v.value ?? "" })) }),
        ...(image.trim() && { imageOverride: image.trim() }),
        ...(compute && { computeTypeOverride: compute }),
        ...(timeout && { timeoutInMinutesOverride: Math.trunc(Number(timeout)) }),
        ...(buildspec.trim() && { buildspecOverride: buildspec }),
      },
      {
        onSuccess: (out) => {
          flash("success", `Started build ${out.build?.buildNumber ?? ""} of ${project}`);
          onClose();
          if (out.build?.id) navigate(buildPath(out.build.id));
        },
      },
    );
  }

  return (
    <Modal
      visible
      size="large"
      header={
        <>
          Start a build of <Text>{project}</Text>
        </>
      }
      closeAriaLabel="Close"
      onDismiss={onClose}
      footer={
        <Box float="right">
          <SpaceBetween direction="horizontal" size="xs">
            <Button variant="link" onClick={onClose}>
              Cancel
            </Button>
            <Button variant="primary" loading={start.isPending} onClick={go}>
              Start build
            </Button>
          </SpaceBetween>
        </Box>
      }
    >
      <SpaceBetween size="l">
        <Box>What is left empty is as the project says.</Box>
        {start.error && (
          <Alert type="error" header="The build was not started">
            <Text lines>{describe(start.error)}</Text>
          </Alert>
        )}
        <FormField label={optional("Source version")} description="A branch, a tag, a commit, or a pull request as pr/12.">
          <Input value={version} onChange={(e) => setVersion(e.detail.value)} spellcheck={false} />
        </FormField>
        <FormField label={optional("Environment variables")} description="They are added to the project's, and take the place of those with the same name." stretch>
          <AttributeEditor
            items={variables}
            addButtonText="Add environment variable"
            removeButtonText="Remove"
            removeButtonAriaLabel={(v: EnvironmentVariable) => `Remove environment variable ${v.name}`}
            empty="There are none."
            onAddButtonClick={() => setVariables([...variables, { name: "", value: "", type: "PLAINTEXT" }])}
            onRemoveButtonClick={(e) => setVariables(variables.filter((_, i) => i !== e.detail.itemIndex))}
            definition={[
              { label: "Name", control: (v, i) => <Input value={v.name} onChange={(e) => set(i, { name: e.detail.value })} spellcheck={false} ariaLabel={`Name of variable ${i + 1}`} />, errorText: (v) => tried && nameless(v) && "Enter a name." },
              { label: "Value", control: (v, i) => <Input value={v.value ?? ""} onChange={(e) => set(i, { value: e.detail.value })} spellcheck={false} ariaLabel={`Value of variable ${i + 1}`} /> },
              {
                label: "Type",
                control: (v, i) => (
                  <Select
                    selectedOption={{ value: v.type ?? "PLAINTEXT", label: words(v.type ?? "PLAINTEXT") }}
                    options={EnvironmentVariableTypeValues.map((t) => ({ value: t, label: words(t) }))}
                    onChange={(e) => set(i, { type: e.detail.selectedOption.value as EnvironmentVariableType })}
                    ariaLabel={`Type of variable ${i + 1}`}
                  />
                ),
              },
            ]}
          />
        </FormField>
        <FormField label={optional("Compute")}>
          <Select
            selectedOption={compute ? { value: compute, label: compute } : { value: "", label: "As the project says" }}
            options={[{ value: "", label: "As the project says" }, ...ComputeTypeValues.filter((c) => c.startsWith("BUILD_GENERAL1")).map((c) => ({ value: c, label: c }))]}
            onChange={(e) => setCompute(ComputeTypeValues.find((c) => c === e.detail.selectedOption.value))}
          />
        </FormField>
        <FormField label={optional("Environment image")}>
          <Input value={image} onChange={(e) => setImage(e.detail.value)} placeholder={like?.environment?.image} spellcheck={false} />
        </FormField>
        <FormField label={optional("Timeout")} description="Minutes, from 5 to 2160.">
          <Input type="number" inputMode="numeric" value={timeout} onChange={(e) => setTimeoutMinutes(e.detail.value)} placeholder={like?.timeoutInMinutes ? String(like.timeoutInMinutes) : undefined} />
        </FormField>
        <FormField label={optional("Buildspec")} description="Another file in the source, or the commands themselves." stretch>
          <Editor label="Buildspec" value={buildspec} onChange={setBuildspec} marks={marks} />
        </FormField>
      </SpaceBetween>
    </Modal>
  );
}
