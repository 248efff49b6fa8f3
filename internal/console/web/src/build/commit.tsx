import type { ProjectSource } from "../api.gen";
import { commitPage } from "../source/pages";
import { useProviders } from "../source/providers";
import { Outside } from "../ui/link";
import { Text } from "../ui/text";

/** The commit that was built, with a link to the provider's page of it. */
export function Commit({ source, sha, short }: { source: ProjectSource | undefined; sha: string | undefined; short?: boolean }) {
  const { providers } = useProviders();
  if (!sha) return <>-</>;
  const address = commitPage(source, sha, providers.flatMap((p) => p.hosts ?? []));
  const text = <Text code>{short && /^[0-9a-f]{40,}$/.test(sha) ? sha.slice(0, 12) : sha}</Text>;
  return <Outside address={address}>{text}</Outside>;
}
