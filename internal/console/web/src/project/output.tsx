/** What remains of a build: artifacts, cache, logs. */
import Alert from "@cloudscape-design/components/alert";
import Checkbox from "@cloudscape-design/components/checkbox";
import FormField from "@cloudscape-design/components/form-field";
import Input from "@cloudscape-design/components/input";
import Multiselect from "@cloudscape-design/components/multiselect";
import RadioGroup from "@cloudscape-design/components/radio-group";
import Select from "@cloudscape-design/components/select";
import SpaceBetween from "@cloudscape-design/components/space-between";
import { CacheModeValues, type ArtifactsType, type CacheMode, type CacheType, type LogsConfig, type ProjectArtifacts, type ProjectCache } from "../api.gen";
import { Text } from "../ui/text";
import type { Problems } from "./draft";
import { optional } from "./source";

const opt = (label: string) => (
  <>
    {label} <i>- optional</i>
  </>
);

export function ArtifactsFields({ artifacts: a, onChange, problems }: { artifacts: ProjectArtifacts; onChange: (a: ProjectArtifacts) => void; problems: Problems }) {
  const types: Record<ArtifactsType, string> = { NO_ARTIFACTS: "No artifacts", S3: "Amazon S3", CODEPIPELINE: "AWS CodePipeline" };
  const set = (patch: Partial<ProjectArtifacts>) => onChange({ ...a, ...patch });
  const problem = problems["artifacts.location"] && <Text lines>{problems["artifacts.location"]}</Text>;
  return (
    <SpaceBetween size="l">
      <FormField label="Type" errorText={a.type !== "S3" && problem}>
        <Select
          selectedOption={{ value: a.type, label: types[a.type] }}
          options={(["NO_ARTIFACTS", "S3", ...(a.type === "CODEPIPELINE" ? ["CODEPIPELINE"] : [])] as ArtifactsType[]).map((value) => ({ value, label: types[value] }))}
          onChange={(e) => onChange({ type: e.detail.selectedOption.value as ArtifactsType })}
        />
      </FormField>
      {a.type === "S3" && (
        <SpaceBetween size="l">
          <Alert type="warning">Builds on this server cannot upload artifacts yet: one with artifacts fails in UPLOAD_ARTIFACTS.</Alert>
          <FormField label="Bucket name" errorText={problem}>
            <Input value={a.location ?? ""} onChange={(e) => set({ location: e.detail.value })} spellcheck={false} />
          </FormField>
          <FormField label={opt("Name")} description="The name of the folder or compressed file in the bucket.">
            <Input value={a.name ?? ""} onChange={(e) => set({ name: optional(e.detail.value) })} spellcheck={false} />
          </FormField>
          <FormField label={opt("Path")} description="The path to the build output ZIP file or folder.">
            <Input value={a.path ?? ""} onChange={(e) => set({ path: optional(e.detail.value) })} spellcheck={false} />
          </FormField>
          <FormField label="Namespace type">
            <Select
              selectedOption={{ value: a.namespaceType ?? "NONE", label: a.namespaceType === "BUILD_ID" ? "Build ID" : "None" }}
              options={[
                { value: "NONE", label: "None" },
                { value: "BUILD_ID", label: "Build ID" },
              ]}
              onChange={(e) => set({ namespaceType: e.detail.selectedOption.value === "BUILD_ID" ? "BUILD_ID" : "NONE" })}
            />
          </FormField>
          <FormField label="Artifacts packaging">
            <RadioGroup
              value={a.packaging ?? "NONE"}
              onChange={(e) => set({ packaging: e.detail.value === "ZIP" ? "ZIP" : "NONE" })}
              items={[
                { value: "NONE", label: "None", description: "The artifact files will be uploaded to the bucket." },
                { value: "ZIP", label: "Zip", description: "The artifacts will be compressed and uploaded in one file." },
              ]}
            />
          </FormField>
          <Checkbox checked={a.overrideArtifactName ?? false} onChange={(e) => set({ overrideArtifactName: e.detail.checked })}>
            Enable semantic versioning: use the artifact name of the buildspec file
          </Checkbox>
          <Checkbox checked={a.encryptionDisabled ?? false} onChange={(e) => set({ encryptionDisabled: e.detail.checked })}>
            Disable artifacts encryption
          </Checkbox>
        </SpaceBetween>
      )}
    </SpaceBetween>
  );
}

export function CacheFields({ cache, onChange, problems }: { cache: ProjectCache | undefined; onChange: (c: ProjectCache) => void; problems: Problems }) {
  const c = cache ?? { type: "NO_CACHE" };
  const types: Record<CacheType, string> = { NO_CACHE: "No cache", S3: "Amazon S3", LOCAL: "Local" };
  const modes: Record<CacheMode, string> = { LOCAL_DOCKER_LAYER_CACHE: "Docker layers", LOCAL_SOURCE_CACHE: "Source", LOCAL_CUSTOM_CACHE: "Custom: paths of the buildspec" };
  return (
    <SpaceBetween size="l">
      <FormField label="Cache type" errorText={c.type === "NO_CACHE" && problems["cache.location"]}>
        <Select
          selectedOption={{ value: c.type, label: types[c.type] }}
          options={Object.entries(types).map(([value, label]) => ({ value, label }))}
          onChange={(e) => onChange({ type: e.detail.selectedOption.value as CacheType })}
        />
      </FormField>
      {c.type !== "NO_CACHE" && <Alert type="info">This server notes the cache and does not use it yet. Git repositories are cached in any case.</Alert>}
      {c.type === "S3" && (
        <FormField label="Cache bucket" description="A bucket, with a prefix after a slash if there is one." errorText={problems["cache.location"]}>
          <Input value={c.location ?? ""} onChange={(e) => onChange({ ...c, location: e.detail.value })} spellcheck={false} />
        </FormField>
      )}
      {c.type === "LOCAL" && (
        <FormField label="What to cache" errorText={problems["cache.modes"] ?? problems["cache.location"]}>
          <Multiselect
            selectedOptions={(c.modes ?? []).map((m) => ({ value: m, label: modes[m] }))}
            options={CacheModeValues.map((m) => ({ value: m, label: modes[m] }))}
            onChange={(e) => onChange({ ...c, modes: e.detail.selectedOptions.map((o) => o.value as CacheMode) })}
            placeholder="Choose"
            deselectAriaLabel={(o) => `Remove ${o.label}`}
          />
        </FormField>
      )}
    </SpaceBetween>
  );
}

export function LogsFields({ logs, onChange, problems }: { logs: LogsConfig | undefined; onChange: (l: LogsConfig) => void; problems: Problems }) {
  const cw = logs?.cloudWatchLogs ?? { status: "ENABLED" };
  const s3 = logs?.s3Logs;
  const set = (patch: Partial<typeof cw>) => onChange({ ...logs, cloudWatchLogs: { ...cw, ...patch } });
  return (
    <SpaceBetween size="l">
      <FormField label="CloudWatch" errorText={problems["logsConfig"] && <Text lines>{problems["logsConfig"]}</Text>}>
        <Checkbox
          checked={cw.status === "ENABLED"}
          onChange={(e) => set({ status: e.detail.checked ? "ENABLED" : "DISABLED" })}
          description="The log is kept on this server in any case. The names below are those by which aws logs finds it."
        >
          CloudWatch logs
        </Checkbox>
      </FormField>
      {cw.status === "ENABLED" && (
        <SpaceBetween size="l">
          <FormField label={opt("Group name")} description="By default /aws/codebuild/ and the name of the project.">
            <Input value={cw.groupName ?? ""} onChange={(e) => set({ groupName: optional(e.detail.value) })} spellcheck={false} />
          </FormField>
          <FormField label={opt("Stream name prefix")}>
            <Input value={cw.streamName ?? ""} onChange={(e) => set({ streamName: optional(e.detail.value) })} spellcheck={false} />
          </FormField>
        </SpaceBetween>
      )}
      {s3?.location && (
        <FormField label="S3">
          <Checkbox checked={s3.status === "ENABLED"} onChange={(e) => onChange({ ...logs, s3Logs: { ...s3, status: e.detail.checked ? "ENABLED" : "DISABLED" } })} description="This server notes them and does not write them yet.">
            S3 logs to <Text>{s3.location}</Text>
          </Checkbox>
        </FormField>
      )}
    </SpaceBetween>
  );
}
