/** What is known of a stored credential, and what can be done with it. */
import Alert from "@cloudscape-design/components/alert";
import Badge from "@cloudscape-design/components/badge";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import CloudscapeLink from "@cloudscape-design/components/link";
import KeyValuePairs from "@cloudscape-design/components/key-value-pairs";
import Modal from "../ui/modal";
import SpaceBetween from "@cloudscape-design/components/space-between";
import { useQueries } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { call, useAction, useCall } from "../api";
import type { ResolveSourceCredentialsOutput, SourceCredential } from "../api.gen";
import { useAllProjects } from "../project/all";
import { flash, flashError } from "../ui/flash";
import { isWebAddress, Link } from "../ui/link";
import { Failure, Loading } from "../ui/state";
import { CredentialStatus } from "../ui/status";
import { Text } from "../ui/text";
import { Time } from "../ui/time";
import { kindText, type Provider } from "./providers";

export function useCredentials() {
  const q = useCall("DescribeSourceCredentials", {}, { poll: 30_000 });
  return { ...q, credentials: q.data?.sourceCredentials ?? [] };
}

/** The state of a credential, the reason for it, and what each missing scope would be for. */
export function Health({ credential, provider }: { credential: SourceCredential; provider?: Provider }) {
  const missing = credential.missingScopes ?? [];
  const oauth = credential.authType === "OAUTH";
  const links = oauth ? [] : (provider?.tokenUrls ?? []).filter((t) => isWebAddress(t.url));
  const bad = ["EXPIRED", "REVOKED"].includes(credential.state ?? "");
  const wanting = missing.length > 0 || bad || credential.state === "EXPIRING";
  if (!credential.detail && !wanting) return null;
  return (
    <Alert
      type={bad ? "error" : missing.length || credential.state === "EXPIRING" ? "warning" : "info"}
      header={missing.length > 0 ? "Scopes are missing" : undefined}
    >
      {credential.state === "EXPIRING" && credential.expires !== undefined && (
        <Box>
          The token expires <Time at={credential.expires} coming />. Replace it before that.
        </Box>
      )}
      {credential.detail && missing.length === 0 && <Text lines>{credential.detail}</Text>}
      {missing.length > 0 && (
        <ul className="plain">
          {missing.map((m) => (
            <li key={m.scope}>
              <Box variant="code" display="inline">
                {m.scope}
              </Box>
              {m.neededFor && ` is needed to ${m.neededFor}`}
            </li>
          ))}
        </ul>
      )}
      {wanting && oauth && (
        <div>
          {missing.length > 0 && `The settings of the OAuth app at ${credential.hosts?.join(", ")} may leave them out. `}Choose Replace, and connect again.
        </div>
      )}
      {wanting &&
        links.map((l) => (
          <div key={l.url}>
            <CloudscapeLink external href={l.url}>
              Make a new token with the scopes that are needed at {l.host}
            </CloudscapeLink>
          </div>
        ))}
    </Alert>
  );
}

export function ScopeList({ scopes }: { scopes: string[] | undefined }) {
  if (!scopes?.length) return <>The provider does not tell</>;
  return (
    <SpaceBetween direction="horizontal" size="xxs">
      {scopes.map((s) => (
        <Badge key={s}>
          <Text>{s}</Text>
        </Badge>
      ))}
    </SpaceBetween>
  );
}

/** What a token was last used for. */
const purposes: Record<string, string> = {
  DOWNLOAD_SOURCE: "to fetch the source",
  BUILD_COMMANDS: "for git in the commands of a build",
  COMMIT_STATUS: "to report the status of a commit",
  CHECK: "to check the token",
  WEBHOOK: "for a webhook",
  LIST_REPOSITORIES: "to list repositories",
  MASK: "to hide it in a log",
};

/** The facts about a credential in columns. */
export function Facts({ credential: c, brief }: { credential: SourceCredential; brief?: boolean }) {
  const items = [
    { label: "User", value: c.user ? <Text>{c.user}</Text> : "The provider does not tell" },
    { label: "State", value: <CredentialStatus state={c.state} /> },
    { label: "Kind", value: kindText(c.authType, c.kind) },
    { label: "Expires", value: c.expires ? <Time at={c.expires} coming /> : c.authType === "SECRETS_MANAGER" ? "-" : c.authType === "OAUTH" ? "Never" : "No end is known" },
    { label: "Scopes", value: <ScopeList scopes={c.scopes} /> },
    { label: "Sent to", value: c.hosts?.length ? <Text>{c.hosts.join(", ")}</Text> : "No host is listed" },
  ];
  if (!brief) {
    items.push(
      { label: c.authType === "OAUTH" ? "Connected" : "Imported", value: <Time at={c.imported ?? c.created} /> },
      { label: "Last checked", value: <Time at={c.lastChecked} /> },
      {
        label: "Last used",
        value: c.lastUsed ? (
          <>
            <Time at={c.lastUsed.at} /> {c.lastUsed.purpose && <Text>{purposes[c.lastUsed.purpose] ?? `for ${c.lastUsed.purpose}`}</Text>}
            {c.lastUsed.build && (
              <Box>
                <Text>{c.lastUsed.build}</Text>
              </Box>
            )}
          </>
        ) : (
          "Never"
        ),
      },
      { label: "ARN", value: <Text>{c.arn}</Text> },
      { label: "Requests left", value: c.requestsLeft === undefined ? "The provider does not tell" : String(c.requestsLeft) },
    );
    if (c.resource) items.push({ label: "Secret or connection", value: <Text>{c.resource}</Text> });
  }
  return <KeyValuePairs columns={3} minColumnWidth={200} items={items} />;
}

/** A button that asks the provider about a stored credential now. */
export function CheckNow({ credential, disabled }: { credential: SourceCredential | undefined; disabled?: boolean }) {
  const check = useAction("CheckSourceCredentials");
  return (
    <Button
      disabled={disabled || !credential}
      loading={check.isPending}
      onClick={() =>
        check.mutate(
          { arn: credential!.arn },
          {
            onSuccess: (out) => {
              const c = out.sourceCredentials?.[0];
              if (c?.state === "VALID") flash("success", "The provider takes the token", c.detail);
              else flash("warning", "The provider was asked about the token", c?.detail);
            },
            onError: (e) => flashError("Check the token", e),
          },
        )
      }
    >
      Check now
    </Button>
  );
}

/** At most so many projects are asked about one by one. */
const most = 500;

/** Which projects use a credential, and why: by the server's own resolution. */
export function useUsers(credential: SourceCredential | undefined) {
  const projects = useAllProjects({ skip: !credential });
  // Only a source of the credential's type can resolve to it.
  const candidates = (projects.data ?? []).filter((p) => [p.source, ...(p.secondarySources ?? [])].some((s) => s?.type === credential?.serverType));
  const asked = candidates.slice(0, most);
  const answers = useQueries({
    queries: asked.map((p) => ({
      queryKey: ["ResolveSourceCredentials", { projectName: p.name }],
      queryFn: ({ signal }: { signal: AbortSignal }) => call("ResolveSourceCredentials", { projectName: p.name! }, signal),
    })),
  });
  const users = answers
    .map((a) => a.data)
    .filter((d): d is ResolveSourceCredentialsOutput => !!d)
    .flatMap((d) => (d.sources ?? []).filter((s) => s.arn === credential?.arn).map((source) => ({ project: d.projectName ?? "", source })));
  return {
    users,
    more: candidates.length - asked.length,
    loading: projects.isPending || answers.some((a) => a.isPending),
    error: projects.error ?? answers.find((a) => a.error)?.error,
    retry: () => void projects.refetch(),
  };
}

/** The projects that use a credential, below what is said of them if there are any. */
export function Users({ credential, children }: { credential: SourceCredential; children?: ReactNode }) {
  const { users, more, loading, error, retry } = useUsers(credential);
  if (error) return <Failure what="the projects that use it" error={error} retry={retry} />;
  if (loading) return <Loading what="the projects that use it" />;
  const rest = more > 0 && <Box>{`${more.toLocaleString("en")} more projects with a source of its provider were not asked; they may use it.`}</Box>;
  if (users.length === 0) return rest || <Box>No project uses it.</Box>;
  return (
    <>
      {children}
      <ul className="plain">
        {users.map((u) => (
          <li key={u.project + u.source.sourceIdentifier}>
            <Link to={`/projects/${encodeURIComponent(u.project)}`}>
              <Text>{u.project}</Text>
            </Link>
            {u.source.sourceIdentifier && u.source.sourceIdentifier !== "primary" && <Text>{` (source ${u.source.sourceIdentifier})`}</Text>}
            {u.source.reason && <Text>{`: ${u.source.reason}`}</Text>}
          </li>
        ))}
      </ul>
      {rest}
    </>
  );
}

/** Asks before a credential is deleted, and names what stops working. */
export function Disconnect({ credential, name, onClose }: { credential: SourceCredential; name: string; onClose: (deleted: boolean) => void }) {
  const del = useAction("DeleteSourceCredentials");
  return (
    <Modal
      visible
      header={`Disconnect ${name}?`}
      closeAriaLabel="Close"
      onDismiss={() => onClose(false)}
      footer={
        <Box float="right">
          <SpaceBetween direction="horizontal" size="xs">
            <Button variant="link" onClick={() => onClose(false)}>
              Cancel
            </Button>
            <Button
              variant="primary"
              loading={del.isPending}
              onClick={() =>
                del.mutate(
                  { arn: credential.arn! },
                  {
                    onSuccess: () => {
                      flash("success", `Disconnected ${name}`);
                      onClose(true);
                    },
                  },
                )
              }
            >
              Disconnect
            </Button>
          </SpaceBetween>
        </Box>
      }
    >
      <SpaceBetween size="m">
        {del.error && <Failure what="the outcome" error={del.error} />}
        <Box>
          The stored token{credential.user && <Text>{` of ${credential.user}`}</Text>} is deleted from this server, and builds that run lose it at once. It stays valid at the provider until it is
          revoked there.
        </Box>
        <div>
          <Box variant="h4">What stops working</Box>
          <Users credential={credential}>
            <Box>Private repositories cannot be fetched, commits get no status, and webhooks cannot be changed, in:</Box>
          </Users>
        </div>
      </SpaceBetween>
    </Modal>
  );
}
