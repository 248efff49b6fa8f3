import CloudscapeLink from "@cloudscape-design/components/link";
import type { ProjectSource } from "../api.gen";
import { useProviders } from "../source/providers";
import { Text } from "../ui/text";

/** The paths of a commit's page at each kind of provider, from the repository's. */
const paths: Record<string, string> = {
  GITHUB: "commit",
  GITHUB_ENTERPRISE: "commit",
  GITEA: "commit",
  BITBUCKET: "commits",
  GITLAB: "-/commit",
  GITLAB_SELF_MANAGED: "-/commit",
};

/** The page of a commit, "" if there is none that is known: only at hosts that the server knows, and by https. */
export function commitAddress(source: ProjectSource | undefined, sha: string | undefined, hosts: string[]): string {
  const path = paths[source?.type ?? ""];
  if (!path || !/^[0-9a-f]{40,64}$/.test(sha ?? "")) return "";
  try {
    const u = new URL(source?.location ?? "");
    if (u.protocol !== "https:" || !hosts.includes(u.host)) return "";
    return `https://${u.host}${u.pathname.replace(/\/$/, "").replace(/\.git$/, "")}/${path}/${sha}`;
  } catch {
    return "";
  }
}

/** The commit that was built, with a link to the provider's page of it. */
export function Commit({ source, sha, short }: { source: ProjectSource | undefined; sha: string | undefined; short?: boolean }) {
  const { providers } = useProviders();
  if (!sha) return <>-</>;
  const hosts = providers.flatMap((p) => (p.hosts ?? []).map((h) => h.name ?? ""));
  const address = commitAddress(source, sha, hosts);
  const text = <Text code>{short && /^[0-9a-f]{40,}$/.test(sha) ? sha.slice(0, 12) : sha}</Text>;
  if (!address) return text;
  return (
    <CloudscapeLink external href={address}>
      {text}
    </CloudscapeLink>
  );
}
