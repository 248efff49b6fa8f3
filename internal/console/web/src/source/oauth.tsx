import Alert from "@cloudscape-design/components/alert";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import CloudscapeLink from "@cloudscape-design/components/link";
import FormField from "@cloudscape-design/components/form-field";
import Select from "@cloudscape-design/components/select";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Spinner from "@cloudscape-design/components/spinner";
import { useEffect, useState } from "react";
import { call, queries, type Output } from "../api";
import { describe, flash } from "../ui/flash";
import { isWebAddress } from "../ui/link";
import { Copyable, Text } from "../ui/text";
import type { Provider } from "./providers";

/**
 * Connects by the provider's own pages. The web flow opens them in another
 * tab, so that nothing typed here is lost; the device flow shows a code.
 */
export function OAuth({ provider, onDone }: { provider: Provider; onDone?: () => void }) {
  const hosts = provider.hosts ?? [];
  const [host, setHost] = useState(hosts[0]?.name);
  const [device, setDevice] = useState<Output<"StartOAuth">>();
  const [problem, setProblem] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const [opened, setOpened] = useState<string>();

  async function start(flow: "WEB" | "DEVICE") {
    setProblem(undefined);
    setBusy(true);
    try {
      const started = await call("StartOAuth", { serverType: provider.serverType, flow, ...(!provider.known && host && { host }) });
      if (flow === "DEVICE") setDevice(started);
      else if (isWebAddress(started.authorizeUrl)) {
        setOpened(started.authorizeUrl);
        window.open(started.authorizeUrl, "_blank", "noopener");
      } else throw new Error("The server gave no address to go to.");
    } catch (e) {
      setProblem(e);
    }
    setBusy(false);
  }

  useEffect(() => {
    if (!device?.flowId) return;
    let timer: ReturnType<typeof setTimeout>;
    let gone = false;
    const ask = async () => {
      try {
        const { state, message } = await call("PollOAuth", { flowId: device.flowId! });
        if (gone) return;
        if (state === "DONE") {
          setDevice(undefined);
          flash("success", `Connected to ${provider.name}`);
          await queries.invalidateQueries();
          onDone?.();
          return;
        }
        if (state !== "PENDING") {
          setDevice(undefined);
          setProblem(new Error(message || (state === "DENIED" ? `The request was declined at ${provider.name}.` : "The code has ended. Start again.")));
          return;
        }
      } catch (e) {
        if (gone) return;
        setProblem(e);
      }
      timer = setTimeout(() => void ask(), (device.interval ?? 5) * 1000);
    };
    timer = setTimeout(() => void ask(), (device.interval ?? 5) * 1000);
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [device]); // eslint-disable-line

  return (
    <SpaceBetween size="m">
      {hosts.length > 1 && (
        <FormField label="Host">
          <Select
            selectedOption={host ? { value: host, label: host } : null}
            options={hosts.map((h) => ({ value: h.name, label: h.name }))}
            onChange={(e) => setHost(e.detail.selectedOption.value)}
          />
        </FormField>
      )}
      {problem ? (
        <Alert type="error">
          <Text lines>{describe(problem)}</Text>
        </Alert>
      ) : null}
      {opened && (
        <Alert type="info" header={`Go on at ${provider.name}`}>
          Its page is open in another tab. When you have agreed there, come back: this page then shows the connection.{" "}
          <CloudscapeLink external href={opened}>
            Open it again
          </CloudscapeLink>
        </Alert>
      )}
      {device ? (
        <Alert type="info" header="Enter this code at the provider">
          <SpaceBetween size="xs">
            <Box fontSize="heading-l">
              <Copyable what="the code">{device.userCode ?? ""}</Copyable>
            </Box>
            {isWebAddress(device.verificationUrl) && (
              <CloudscapeLink external href={device.verificationUrl}>
                {device.verificationUrl}
              </CloudscapeLink>
            )}
            <div role="status">
              <Spinner /> Waiting until you have
            </div>
          </SpaceBetween>
        </Alert>
      ) : (
        <SpaceBetween direction="horizontal" size="xs">
          {provider.oauth?.web && (
            <Button onClick={() => void start("WEB")} loading={busy}>
              Connect to {provider.name}
            </Button>
          )}
          {provider.oauth?.device && (
            <Button onClick={() => void start("DEVICE")} loading={busy}>
              {provider.oauth.web ? "Connect with a code" : `Connect to ${provider.name}`}
            </Button>
          )}
        </SpaceBetween>
      )}
    </SpaceBetween>
  );
}
