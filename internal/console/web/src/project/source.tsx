import Alert from "@cloudscape-design/components/alert";
import Autosuggest from "@cloudscape-design/components/autosuggest";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import Checkbox from "@cloudscape-design/components/checkbox";
import Container from "@cloudscape-design/components/container";
import FormField from "@cloudscape-design/components/form-field";
import Header from "@cloudscape-design/components/header";
import Input from "@cloudscape-design/components/input";
import RadioGroup from "@cloudscape-design/components/radio-group";
import Select from "@cloudscape-design/components/select";
import SpaceBetween from "@cloudscape-design/components/space-between";
import { useEffect, useState } from "react";
import { useCall } from "../api";
import type { ProjectSource, SourceType } from "../api.gen";
import { Connect } from "../source/connect";
import { CheckNow, Disconnect, Facts, Health, useCredentials } from "../source/credential";
import { hostOf, useProviders, type Provider } from "../source/providers";
import { describe } from "../ui/flash";
import { Failure, Loading } from "../ui/state";
import { Text } from "../ui/text";
import { isGitHost, withType, type Problems } from "./draft";
import { Folded } from "./folded";

/** What sources are called that are no repository of a provider. Only the last can be chosen: builds cannot fetch the others yet. */
const others: Partial<Record<SourceType, string>> = { S3: "Amazon S3", CODECOMMIT: "AWS CodeCommit", CODEPIPELINE: "AWS CodePipeline", NO_SOURCE: "No source" };

/** The value of an optional text field. */
export const optional = (text: string): string | undefined => (text === "" ? undefined : text);

const depths = [1, 5, 10, 25, 0];
const depthText = (n: number) => (n === 0 ? "Full" : String(n));

interface Props {
  source: ProjectSource;
  version: string | undefined;
  onChange: (s: ProjectSource) => void;
  onVersion: (v: string | undefined) => void;
  problems: Problems;
  /** The path of this source in the document. */
  at: string;
  primary?: boolean;
}

/** The fields of one source. */
export function SourceFields({ source, version, onChange, onVersion, problems, at, primary }: Props) {
  const { providers, error, isPending, refetch } = useProviders();
  const { credentials } = useCredentials();
  if (isPending) return <Loading what="the source providers" />;
  if (error && providers.length === 0) return <Failure what="the source providers" error={error} retry={() => void refetch()} />;
  const provider = providers.find((p) => p.serverType === source.type);
  const credential = credentials.find((c) => c.serverType === source.type);
  const types = [
    ...providers.map((p) => ({ value: p.serverType as string, label: p.name })),
    ...(Object.entries(others) as [SourceType, string][])
      .filter(([t]) => (t === "NO_SOURCE" && primary) || t === source.type)
      .map(([value, label]) => ({ value: value as string, label })),
  ];
  const set = (patch: Partial<ProjectSource>) => onChange({ ...source, ...patch });

  return (
    <SpaceBetween size="l">
      {!primary && (
        <FormField label="Source identifier" description="Names the directory variable CODEBUILD_SRC_DIR_IDENTIFIER of the build." errorText={problems[`${at}.sourceIdentifier`]}>
          <Input value={source.sourceIdentifier ?? ""} onChange={(e) => set({ sourceIdentifier: e.detail.value })} spellcheck={false} />
        </FormField>
      )}
      <FormField label="Source provider" errorText={problems[`${at}.type`]}>
        <Select
          selectedOption={types.find((t) => t.value === source.type) ?? { value: source.type, label: source.type }}
          options={types}
          onChange={(e) => onChange(withType(source, e.detail.selectedOption.value as SourceType))}
        />
      </FormField>
      {isGitHost(source.type) && provider && (
        <Repository key={source.type} provider={provider} connected={!!credential} source={source} onChange={set} problem={problems[`${at}.location`]} problemOfAuth={problems[`${at}.auth.resource`]} />
      )}
      {isGitHost(source.type) && !provider && (
        <FormField label="Repository URL" errorText={problems[`${at}.location`]}>
          <Input value={source.location ?? ""} onChange={(e) => set({ location: e.detail.value })} spellcheck={false} />
        </FormField>
      )}
      {!isGitHost(source.type) && source.type !== "NO_SOURCE" && (
        <SpaceBetween size="l">
          <Alert type="warning">Builds on this server cannot fetch a source of this type: they fail in DOWNLOAD_SOURCE.</Alert>
          {source.type !== "CODEPIPELINE" && (
            <FormField label="Location" errorText={problems[`${at}.location`]}>
              <Input value={source.location ?? ""} onChange={(e) => set({ location: e.detail.value })} spellcheck={false} />
            </FormField>
          )}
        </SpaceBetween>
      )}
      {source.type !== "NO_SOURCE" && (
        <FormField
          label={
            <>
              Source version <i>- optional</i>
            </>
          }
          description={`A branch, tag or commit${source.type === "GITHUB" || source.type === "GITHUB_ENTERPRISE" ? ", or a pull request as pr/NUMBER" : ""}. By default the branch that is the repository's own default.`}
          errorText={primary ? problems["sourceVersion"] : undefined}
        >
          <Input value={version ?? ""} onChange={(e) => onVersion(optional(e.detail.value))} spellcheck={false} />
        </FormField>
      )}
      {isGitHost(source.type) && (
        <Folded title="Additional configuration" description="Git clone depth, submodules, commit status" problems={problems} about={new RegExp(`^${at.replaceAll(".", "\\.")}\\.(gitCloneDepth|gitSubmodules|reportBuildStatus|buildStatusConfig)`)}>
          <SpaceBetween size="l">
            <FormField label="Git clone depth" errorText={problems[`${at}.gitCloneDepth`]}>
              <Select
                selectedOption={{ value: String(source.gitCloneDepth ?? 0), label: depthText(source.gitCloneDepth ?? 0) }}
                options={[...new Set([...depths, source.gitCloneDepth ?? 0])].map((n) => ({ value: String(n), label: depthText(n) }))}
                onChange={(e) => set({ gitCloneDepth: Number(e.detail.selectedOption.value) })}
              />
            </FormField>
            <FormField label="Git submodules">
              <Checkbox
                checked={source.gitSubmodulesConfig?.fetchSubmodules ?? false}
                onChange={(e) => set({ gitSubmodulesConfig: e.detail.checked || source.gitSubmodulesConfig ? { fetchSubmodules: e.detail.checked } : undefined })}
              >
                Use Git submodules
              </Checkbox>
            </FormField>
            <FormField label="Build status">
              <Checkbox
                checked={source.reportBuildStatus ?? false}
                onChange={(e) => set({ reportBuildStatus: e.detail.checked })}
                description={!credential ? "Needs a connection to the provider." : undefined}
              >
                Report build statuses to source provider when your builds start and finish
              </Checkbox>
            </FormField>
            {source.reportBuildStatus && (
              <SpaceBetween size="l">
                <FormField
                  label={
                    <>
                      Status context <i>- optional</i>
                    </>
                  }
                  description="The name of the status on the commit. Variables of the build can stand in it, such as $CODEBUILD_PROJECT_NAME."
                >
                  <Input value={source.buildStatusConfig?.context ?? ""} onChange={(e) => set({ buildStatusConfig: { ...source.buildStatusConfig, context: optional(e.detail.value) } })} />
                </FormField>
                <FormField
                  label={
                    <>
                      Target URL <i>- optional</i>
                    </>
                  }
                  description="Where the status links to; by default the build's page here."
                >
                  <Input value={source.buildStatusConfig?.targetUrl ?? ""} onChange={(e) => set({ buildStatusConfig: { ...source.buildStatusConfig, targetUrl: optional(e.detail.value) } })} />
                </FormField>
              </SpaceBetween>
            )}
          </SpaceBetween>
        </Folded>
      )}
    </SpaceBetween>
  );
}

interface RepositoryProps {
  provider: Provider;
  connected: boolean;
  source: ProjectSource;
  onChange: (patch: Partial<ProjectSource>) => void;
  problem: string | undefined;
  problemOfAuth: string | undefined;
}

/** How the provider is connected, and which of its repositories is built. */
function Repository({ provider, connected, source, onChange, problem, problemOfAuth }: RepositoryProps) {
  const { credentials, error, refetch, isPending } = useCredentials();
  const credential = credentials.find((c) => c.serverType === provider.serverType);
  const [open, setOpen] = useState(false); // a public repository
  const [reported] = useState(source.reportBuildStatus); // as it was before that was chosen
  const custom = !!source.auth && source.auth.type !== "OAUTH";
  const [replacing, setReplacing] = useState(false);
  const [disconnecting, setDisconnecting] = useState(false);
  const name = provider.name ?? "";
  function choose(open: boolean) {
    setOpen(open);
    onChange({ reportBuildStatus: open ? false : reported }); // which needs a token
  }
  const publicChoice = { value: "public", label: "Public repository", description: "Fetched without a token. Commits get no status, and webhooks cannot be made." };

  return (
    <SpaceBetween size="l">
      <FormField label="Credential">
        <RadioGroup
          value={custom ? "custom" : "default"}
          onChange={(e) => onChange({ auth: e.detail.value === "custom" ? { type: "SECRETS_MANAGER", resource: "" } : undefined })}
          items={[
            { value: "default", label: "Default source credential", description: `What this account has stored for ${name}.` },
            { value: "custom", label: "Custom source credential", description: "A secret in Secrets Manager, for this source only." },
          ]}
        />
      </FormField>
      {custom && (
        <FormField
          label="ARN of the secret"
          description="Its value is JSON with ServerType, AuthType, Token and, for BASIC_AUTH, Username."
          errorText={problemOfAuth && <Text lines>{problemOfAuth}</Text>}
        >
          <Input
            value={source.auth?.resource ?? ""}
            onChange={(e) => onChange({ auth: { type: source.auth?.type === "CODECONNECTIONS" && !/:secretsmanager:/.test(e.detail.value) ? "CODECONNECTIONS" : "SECRETS_MANAGER", resource: e.detail.value } })}
            spellcheck={false}
          />
        </FormField>
      )}
      {custom || (
        <>
          {error && !credential && <Failure what="the connection" error={error} retry={() => void refetch()} />}
          {isPending && <Loading what="the connection" />}
          {credential && !replacing && (
            <Container
              header={
                <Header
                  variant="h3"
                  actions={
                    <SpaceBetween direction="horizontal" size="xs">
                      <CheckNow credential={credential} />
                      <Button onClick={() => setReplacing(true)}>Replace</Button>
                      <Button onClick={() => setDisconnecting(true)}>Disconnect</Button>
                    </SpaceBetween>
                  }
                >
                  Connected to {name}
                </Header>
              }
            >
              <SpaceBetween size="m">
                <Facts credential={credential} brief />
                <Health credential={credential} provider={provider} />
              </SpaceBetween>
            </Container>
          )}
          {credential && !replacing && (
            <FormField label="Repository">
              <RadioGroup
                value={open ? "public" : "mine"}
                onChange={(e) => choose(e.detail.value === "public")}
                items={[
                  { value: "mine", label: `Repository in my ${name} account` },
                  { value: "public", label: "Public repository" },
                ]}
              />
            </FormField>
          )}
          {!isPending && (!credential || replacing) && (
            <Container
              header={
                <Header
                  variant="h3"
                  description={credential ? "The new token takes the place of the stored one, for every project that uses it." : "One connection serves every project of this account and region."}
                  actions={replacing && <Button onClick={() => setReplacing(false)}>Keep the stored one</Button>}
                >
                  {credential ? `Replace the connection to ${name}` : `Connect to ${name}`}
                </Header>
              }
            >
              <Connect provider={provider} others={credential ? [] : [publicChoice]} onChoice={(o) => choose(o === "public")} onSaved={() => setReplacing(false)} />
            </Container>
          )}
          {disconnecting && credential && <Disconnect credential={credential} name={name} onClose={() => setDisconnecting(false)} />}
        </>
      )}
      <Choice provider={provider} list={connected && !open && !custom} location={source.location} onLocation={(location) => onChange({ location })} problem={problem} />
    </SpaceBetween>
  );
}

/** The field for a repository: chosen from the provider's list, or typed. */
function Choice({ provider, list, location, onLocation, problem }: { provider: Provider; list: boolean; location: string | undefined; onLocation: (l: string) => void; problem: string | undefined }) {
  const [typed, setTyped] = useState("");
  const [search, setSearch] = useState("");
  const [asked, setAsked] = useState(false);
  const names = (provider.hosts ?? []).map((h) => h.name ?? "");
  const [host, setHost] = useState(() => (names.includes(hostOf(location)) ? hostOf(location) : (names[0] ?? "")));

  useEffect(() => {
    const t = setTimeout(() => setSearch(typed), 250);
    return () => clearTimeout(t);
  }, [typed]);

  const q = useCall(
    "ListRepositories",
    { serverType: provider.serverType, ...(!provider.known && host && { host }), ...(search && { search }) },
    { skip: !list || !asked, keep: true },
  );
  const repositories = q.data?.repositories ?? [];
  const example = `https://${host || names[0] || "HOST"}/OWNER/REPOSITORY.git`;
  return (
    <SpaceBetween size="l">
      {list && names.length > 1 && !provider.known && (
        <FormField label="Host">
          <Select selectedOption={{ value: host, label: host }} options={names.map((n) => ({ value: n, label: n }))} onChange={(e) => setHost(e.detail.selectedOption.value ?? "")} />
        </FormField>
      )}
      <FormField
        label="Repository URL"
        description={list ? "Choose one of those that the token can read, or enter an address." : undefined}
        constraintText={example}
        errorText={problem && <Text lines>{problem}</Text>}
      >
        {list ? (
          <Autosuggest
            value={location ?? ""}
            onChange={(e) => {
              onLocation(e.detail.value);
              setTyped(/^https?:/.test(e.detail.value) ? "" : e.detail.value);
            }}
            onFocus={() => setAsked(true)}
            onSelect={(e) => {
              onLocation(e.detail.value);
              setTyped("");
            }}
            filteringType="manual"
            options={repositories.map((r) => ({
              value: r.url ?? "",
              label: r.name,
              description: r.defaultBranch && `Default branch ${r.defaultBranch}`,
              tags: [r.private ? "private" : "public"],
            }))}
            statusType={q.isFetching || typed !== search ? "loading" : q.error ? "error" : "finished"}
            loadingText={`Asking ${provider.name}`}
            errorText={describe(q.error)}
            recoveryText="Try again"
            onLoadItems={() => setAsked(true)}
            empty="No repository is called that"
            finishedText={q.data?.nextToken ? "There are more: type a part of the name" : undefined}
            enteredTextLabel={(v) => `Use ${v}`}
            placeholder="Search, or enter an address"
            ariaLabel="Repository URL"
          />
        ) : (
          <Input value={location ?? ""} onChange={(e) => onLocation(e.detail.value)} spellcheck={false} placeholder={example} inputMode="url" />
        )}
      </FormField>
    </SpaceBetween>
  );
}

/** Sources beside the primary one, and the version of each. */
export function SecondarySources({
  sources,
  versions,
  onChange,
  problems,
}: {
  sources: ProjectSource[];
  versions: (string | undefined)[];
  onChange: (sources: ProjectSource[], versions: (string | undefined)[]) => void;
  problems: Problems;
}) {
  return (
    <SpaceBetween size="m">
      {sources.map((s, i) => (
        <Container
          key={i}
          header={
            <Header variant="h3" actions={<Button onClick={() => onChange(sources.toSpliced(i, 1), versions.toSpliced(i, 1))}>Remove</Button>}>
              <Text>{s.sourceIdentifier || `Secondary source ${i + 1}`}</Text>
            </Header>
          }
        >
          <SourceFields
            source={s}
            version={versions[i]}
            at={`secondarySources.${i + 1}.member`}
            problems={problems}
            onChange={(n) => onChange(sources.with(i, n), versions)}
            onVersion={(v) => onChange(sources, versions.with(i, v))}
          />
        </Container>
      ))}
      <Box>
        <Button
          iconName="add-plus"
          disabled={sources.length >= 12}
          onClick={() => onChange([...sources, { type: "GITHUB", location: "", sourceIdentifier: "", gitCloneDepth: 1 }], [...versions, undefined])}
        >
          Add source
        </Button>
      </Box>
    </SpaceBetween>
  );
}
