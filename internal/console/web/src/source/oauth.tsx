import Alert, { type AlertProps } from "@cloudscape-design/components/alert";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import CloudscapeLink from "@cloudscape-design/components/link";
import FormField from "@cloudscape-design/components/form-field";
import Select from "@cloudscape-design/components/select";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Spinner from "@cloudscape-design/components/spinner";
import { useEffect, useRef, useState, useSyncExternalStore } from "react";
import { call, queries, session, useCall, type Output } from "../api";
import type { OAuthFlow } from "../api.gen";
import { describe, flash } from "../ui/flash";
import { isWebAddress } from "../ui/link";
import { Copyable, Text } from "../ui/text";
import { Time } from "../ui/time";
import type { Provider } from "./providers";

/** The hosts of a provider at which there is an app to connect with. */
export function oauthHosts(provider: Provider) {
  return (provider.hosts ?? []).filter((h) => h.oauth?.web || h.oauth?.device);
}

/** A connection that was begun here. */
type Begun = Output<"StartOAuth"> & { flow: OAuthFlow; host: string; blocked?: boolean };

/**
 * Connects by the provider's own pages. The web flow opens them in another
 * tab, so that nothing typed here is lost; the device flow shows a code. Either
 * way the server is asked how it goes, and this page goes on by itself.
 */
export function OAuth({ provider, onDone }: { provider: Provider; onDone?: () => void }) {
  const hosts = oauthHosts(provider);
  const [name, setName] = useState(hosts[0]?.name);
  const host = hosts.find((h) => h.name === name) ?? hosts[0];
  const [begun, setBegun] = useState<Begun>();
  const [problem, setProblem] = useState<string>();
  const [busy, setBusy] = useState<OAuthFlow>();
  const box = useRef<AlertProps.Ref>(null);
  const ended = useSyncExternalStore(session.subscribe, session.ended);
  const wait = (begun?.interval ?? 5) * 1_000;
  const answer = useCall("PollOAuth", { flowId: begun?.flowId ?? "" }, { skip: !begun || ended, poll: (d) => (!d || d.state === "PENDING") && wait });

  async function start(flow: OAuthFlow) {
    setProblem(undefined);
    setBusy(flow);
    // Before anything is asked: browsers open a tab for a click, and not for an answer.
    const tab = flow === "WEB" ? window.open("", "_blank") : null;
    try {
      const started = await call("StartOAuth", { serverType: provider.serverType, flow, host: host?.name });
      if (flow === "WEB" && !isWebAddress(started.authorizeUrl)) throw new Error("The server gave no address to go to.");
      const opened = tab && !tab.closed;
      if (opened) {
        tab.opener = null;
        tab.location.replace(started.authorizeUrl!);
      }
      setBegun({ ...started, flow, host: host?.name ?? "", blocked: flow === "WEB" && !opened });
    } catch (e) {
      tab?.close();
      if (!session.ended()) setProblem(describe(e)); // the shell says that it has
    }
    setBusy(undefined);
  }

  useEffect(() => {
    if (!begun || ended || answer.isFetching) return; // an error may be of the session before
    if (answer.error) {
      if (answer.error.temporary) return; // it is asked again
      setBegun(undefined);
      setProblem(describe(answer.error));
    } else if (answer.data?.state === "DONE") {
      setBegun(undefined);
      flash("success", `Connected to ${provider.name}`);
      void queries.invalidateQueries().then(() => onDone?.());
    } else if (answer.data && answer.data.state !== "PENDING") {
      setBegun(undefined);
      setProblem(answer.data.message ?? "The connection failed. Connect again.");
    }
  }, [begun, ended, answer.data, answer.error, answer.isFetching]); // eslint-disable-line

  useEffect(() => {
    // What had the focus may be gone.
    if ((begun || problem) && document.activeElement === document.body) box.current?.focus();
  }, [begun, problem]);

  return (
    <SpaceBetween size="m">
      {hosts.length > 1 && (
        <FormField label="Host">
          <Select
            disabled={!!begun}
            selectedOption={host ? { value: host.name, label: host.name } : null}
            options={hosts.map((h) => ({ value: h.name, label: h.name }))}
            onChange={(e) => setName(e.detail.selectedOption.value)}
          />
        </FormField>
      )}
      {problem && (
        <div role="alert">
          <Alert type="error" ref={box} header="Not connected">
            <Text lines>{problem}</Text>
          </Alert>
        </div>
      )}
      {begun ? (
        <Alert
          type={begun.blocked ? "warning" : "info"}
          ref={box}
          header={`${begun.flow === "DEVICE" ? "Enter this code at" : "Go on at"} ${begun.host}`}
          action={<Button onClick={() => setBegun(undefined)}>Cancel</Button>}
        >
          <SpaceBetween size="xs">
            {begun.flow === "DEVICE" ? (
              <>
                <Box fontSize="heading-l">
                  <Copyable what="the code">{begun.userCode ?? ""}</Copyable>
                </Box>
                {isWebAddress(begun.verificationUrl) && (
                  <CloudscapeLink external href={begun.verificationUrl} externalIconAriaLabel="Opens in a new tab">
                    {begun.verificationUrl}
                  </CloudscapeLink>
                )}
              </>
            ) : (
              <>
                <div>
                  {begun.blocked ? "The browser opened no tab for it. Open it yourself, and answer there." : "Its page is open in another tab. Answer there."} This page then goes on by
                  itself.
                </div>
                <CloudscapeLink external href={begun.authorizeUrl} externalIconAriaLabel="Opens in a new tab">
                  {begun.blocked ? `Open ${begun.host}` : "Open it again"}
                </CloudscapeLink>
              </>
            )}
            <div>
              <span role="status">
                <Spinner /> {begun.flow === "DEVICE" ? "Waiting until you have entered it." : "Waiting for your answer."}
              </span>{" "}
              {begun.flow === "DEVICE" ? "The code" : "This"} ends <Time at={begun.expires} coming />.
            </div>
          </SpaceBetween>
        </Alert>
      ) : (
        <SpaceBetween direction="horizontal" size="xs">
          {host?.oauth?.web && (
            <Button onClick={() => void start("WEB")} loading={busy === "WEB"} disabled={busy === "DEVICE"}>
              Connect to {provider.name}
            </Button>
          )}
          {host?.oauth?.device && (
            <Button onClick={() => void start("DEVICE")} loading={busy === "DEVICE"} disabled={busy === "WEB"}>
              {host.oauth.web ? "Connect with a code" : `Connect to ${provider.name}`}
            </Button>
          )}
        </SpaceBetween>
      )}
    </SpaceBetween>
  );
}
