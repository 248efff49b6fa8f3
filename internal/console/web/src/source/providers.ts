/** What the console says about each source provider. What providers are and can do comes from DescribeServer. */
import { useCall } from "../api";
import type { AuthType, ServerType, SourceProvider } from "../api.gen";

/** A provider as DescribeServer tells it; the operations on credentials name the two types of its members. */
export type Provider = Omit<SourceProvider, "serverType" | "authTypes"> & { serverType: ServerType; authTypes?: AuthType[] };

export function useProviders() {
  const server = useCall("DescribeServer", {});
  return { ...server, providers: (server.data?.providers ?? []) as Provider[] };
}

/** The words of a way to connect: of the guide where it has them, and in its manner elsewhere. */
export interface Way {
  authType: AuthType;
  /** The choice: "Connect with a GitHub personal access token". */
  connect: string;
  /** The label of the field: "GitHub personal access token". */
  token: string;
  /** The label of the field for the user name, if one is needed. */
  username?: string;
  /** The label of the button: "Save token". */
  save: string;
  /** What a user should know first. */
  note?: string;
  usernameNote?: string;
}

const tokenWords: Partial<Record<ServerType, string>> = {
  BITBUCKET: "access token",
  BITBUCKET_DATA_CENTER: "HTTP access token",
  GITEA: "access token",
};

const tokenNotes: Partial<Record<ServerType, string>> = {
  BITBUCKET: "An access token of a repository, project or workspace. It is made in the settings of that, needs no user name, and reads only what it belongs to.",
  BITBUCKET_DATA_CENTER: "Made under Manage account, HTTP access tokens; also by the settings of a project or repository.",
  GITEA: "Made under Settings, Applications. Also for Forgejo.",
};

/** The ways to connect to a provider with something that is typed, the guide's own first. */
export function ways(p: Provider): Way[] {
  const name = p.name ?? "";
  const list: Way[] = [];
  for (const authType of p.authTypes ?? []) {
    if (authType === "BASIC_AUTH") {
      list.unshift({
        authType,
        connect: `Connect with a ${name} app password`,
        token: `${name} app password`,
        username: `${name} username`,
        save: `Save ${name} credentials`,
        note:
          p.serverType === "BITBUCKET"
            ? "Atlassian has replaced app passwords by API tokens. Make an API token with scopes for Bitbucket, and enter it in the place of the app password."
            : undefined,
        usernameNote: p.serverType === "BITBUCKET" ? "With an API token, the e-mail address of the Atlassian account. With an app password, the Bitbucket user name." : undefined,
      });
    } else if (authType === "PERSONAL_ACCESS_TOKEN") {
      const word = tokenWords[p.serverType] ?? "personal access token";
      list.push({ authType, connect: `Connect with a ${name} ${word}`, token: `${name} ${word}`, save: "Save token", note: tokenNotes[p.serverType] });
    } else if (authType === "SECRETS_MANAGER") {
      list.push({
        authType,
        connect: "Connect with a secret in Secrets Manager",
        token: "ARN of the secret",
        save: "Save secret",
        note: "The secret's value is JSON with ServerType, AuthType, Token and, for BASIC_AUTH, Username. It is read when it is needed.",
      });
    }
  }
  return list;
}

export function kindText(authType: string | undefined, kind: string | undefined): string {
  const auth: Record<string, string> = {
    OAUTH: "OAuth",
    BASIC_AUTH: "User name and password",
    PERSONAL_ACCESS_TOKEN: "Access token",
    SECRETS_MANAGER: "Secret in Secrets Manager",
    CODECONNECTIONS: "Connection",
  };
  const a = auth[authType ?? ""] ?? authType ?? "-";
  return kind && kind.toLowerCase() !== a.toLowerCase() ? `${a} (${kind})` : a;
}

/** The host of a repository's address; "" if it is none. */
export function hostOf(location: string | undefined): string {
  try {
    return new URL(location ?? "").host;
  } catch {
    return "";
  }
}
