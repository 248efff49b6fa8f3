import Alert from "@cloudscape-design/components/alert";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import CloudscapeLink from "@cloudscape-design/components/link";
import FormField from "@cloudscape-design/components/form-field";
import Input from "@cloudscape-design/components/input";
import RadioGroup from "@cloudscape-design/components/radio-group";
import SpaceBetween from "@cloudscape-design/components/space-between";
import { useState } from "react";
import { useAction } from "../api";
import { describe, flash } from "../ui/flash";
import { isWebAddress } from "../ui/link";
import { Text } from "../ui/text";
import { OAuth, oauthHosts } from "./oauth";
import { ways, type Provider, type Way } from "./providers";

/** Other choices than to connect, which the place that shows this form adds. */
export interface OtherChoice {
  value: string;
  label: string;
  description?: string;
}

interface Props {
  provider: Provider;
  /** Choices beside those to connect; when one is chosen there are no fields. */
  others?: OtherChoice[];
  /** Called when the choice changes; a value of others, or "" for a way to connect. */
  onChoice?: (other: string) => void;
  onSaved?: () => void;
}

/** The choice of how to connect to a provider, and the fields that it needs. */
export function Connect({ provider, others = [], onChoice, onSaved }: Props) {
  const list = ways(provider);
  const oauth = oauthHosts(provider).length > 0;
  const [choice, setChoice] = useState(oauth ? "OAUTH" : (list[0]?.authType ?? ""));
  const way = list.find((w) => w.authType === choice);

  if (!provider.known && !provider.hosts?.length) {
    return (
      <Alert type="info" header={`No host of ${provider.name} is listed`}>
        A token goes only to hosts that this server lists. Whoever runs it adds one with{" "}
        <Box variant="code" display="inline">{`corbel hosts add ${provider.serverType}=https://HOST`}</Box>. Public repositories can be built without.
      </Alert>
    );
  }
  return (
    <SpaceBetween size="m">
      <FormField label="Repository">
        <RadioGroup
          value={choice}
          onChange={(e) => {
            setChoice(e.detail.value);
            onChoice?.(others.some((o) => o.value === e.detail.value) ? e.detail.value : "");
          }}
          items={[
            ...(oauth ? [{ value: "OAUTH", label: "Connect using OAuth" }] : []),
            ...list.map((w) => ({ value: w.authType, label: w.connect })),
            ...others,
          ]}
        />
      </FormField>
      {choice === "OAUTH" && <OAuth provider={provider} onDone={onSaved} />}
      {way && <Token key={way.authType} provider={provider} way={way} onSaved={onSaved} />}
    </SpaceBetween>
  );
}

function Token({ provider, way, onSaved }: { provider: Provider; way: Way; onSaved?: () => void }) {
  const [token, setToken] = useState("");
  const [username, setUsername] = useState("");
  const [trimmed, setTrimmed] = useState(false);
  const [missing, setMissing] = useState(false);
  const save = useAction("ImportSourceCredentials");
  const inner = /\s/.test(token);

  /** Takes white space around a token away, which comes along when it is copied. */
  function take(text: string) {
    setMissing(false);
    if (save.error) save.reset(); // it was about another
    if (text !== text.trim()) setTrimmed(true);
    setToken(text.trim());
  }

  function submit() {
    if (!token || (way.username && !username.trim())) {
      setMissing(true);
      return;
    }
    save.mutate(
      { serverType: provider.serverType, authType: way.authType, token, ...(way.username && { username: username.trim() }) },
      {
        onSuccess: () => {
          setToken("");
          setTrimmed(false);
          save.reset(); // it holds what was sent
          flash("success", `Connected to ${provider.name}`, "The token is stored sealed, and is never shown again.");
          onSaved?.();
        },
      },
    );
  }

  const needsName = missing && way.username && !username.trim();
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        e.stopPropagation();
        submit();
      }}
    >
      <SpaceBetween size="m">
        {way.note && <Box color="text-body-secondary">{way.note}</Box>}
        {way.authType !== "SECRETS_MANAGER" && <Scopes provider={provider} />}
        {way.username && (
          <FormField label={way.username} description={way.usernameNote} errorText={needsName && `Enter the ${way.username}.`}>
            <Input value={username} onChange={(e) => setUsername(e.detail.value)} autoComplete={false} spellcheck={false} />
          </FormField>
        )}
        <FormField
          label={way.token}
          description={provider.known ? undefined : `It is sent to ${(provider.hosts ?? []).map((h) => h.name).join(", ")} and nowhere else.`}
          constraintText={trimmed ? "Blanks or a line end around what you pasted were left out." : undefined}
          errorText={
            (save.error && <Text lines>{describe(save.error)}</Text>) ||
            (missing && !token && `Enter the ${way.token}.`) ||
            (inner && "There is white space within. No token has any: copy it again.")
          }
        >
          <div
            onPaste={(e) => {
              // A field of one line drops line ends silently; the user should hear of it.
              const text = e.clipboardData.getData("text");
              if (text === text.trim()) return;
              e.preventDefault();
              take(text);
            }}
          >
            <Input type={way.authType === "SECRETS_MANAGER" ? "text" : "password"} value={token} onChange={(e) => take(e.detail.value)} autoComplete={false} spellcheck={false} />
          </div>
        </FormField>
        <Button formAction="submit" loading={save.isPending} loadingText={`Asking ${provider.name} about it`}>
          {way.save}
        </Button>
      </SpaceBetween>
    </form>
  );
}

/** Which scopes a token needs, what for, and where one with just those is made. */
function Scopes({ provider }: { provider: Provider }) {
  const links = (provider.tokenUrls ?? []).filter((t) => isWebAddress(t.url));
  if (!provider.scopes?.length && links.length === 0) return null;
  return (
    <Box>
      {provider.scopes?.length ? (
        <>
          It needs these scopes:
          <ul className="plain">
            {provider.scopes.map((s) => (
              <li key={s.scope}>
                <Box variant="code" display="inline">
                  {s.scope}
                </Box>{" "}
                to {s.neededFor}
              </li>
            ))}
          </ul>
        </>
      ) : null}
      {links.map((l) => (
        <div key={l.url}>
          <CloudscapeLink external href={l.url} externalIconAriaLabel="Opens in a new tab">
            Make one at {l.host}
          </CloudscapeLink>
        </div>
      ))}
    </Box>
  );
}
