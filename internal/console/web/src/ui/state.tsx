import Alert from "@cloudscape-design/components/alert";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Spinner from "@cloudscape-design/components/spinner";
import { useEffect, useState, type ReactNode } from "react";
import { useRouteError } from "react-router";
import { APIError } from "../api";
import { describe } from "./flash";
import { Text } from "./text";

/** Stands where an answer will be. After three seconds it says that the server is slow. */
export function Loading({ what }: { what: string }) {
  const [slow, setSlow] = useState(false);
  useEffect(() => {
    const t = setTimeout(() => setSlow(true), 3_000);
    return () => clearTimeout(t);
  }, []);
  return (
    <Box padding="l" textAlign="center" color="text-body-secondary">
      <div role="status">
        <Spinner /> Loading {what}
        {slow && ". The server takes its time; still waiting."}
      </div>
    </Box>
  );
}

/** Stands where an answer would be, says why it is not there and tries again. */
export function Failure({ what, error, retry }: { what: string; error: unknown; retry?: () => void }) {
  const denied = error instanceof APIError && error.code === "AccessDeniedException";
  return (
    <Alert
      type={denied ? "warning" : "error"}
      header={denied ? `You may not see ${what}` : `Could not load ${what}`}
      action={retry && !denied && <Button onClick={retry}>Try again</Button>}
    >
      <Text lines>{describe(error)}</Text>
      {denied && (
        <Box padding={{ top: "xs" }}>Whoever manages the access keys of this server can allow it in the policy of your key (corbel keys).</Box>
      )}
    </Alert>
  );
}

/** Stands in a list that has nothing in it, and says what to do about it. */
export function Empty({ title, children, action }: { title: string; children?: ReactNode; action?: ReactNode }) {
  return (
    <Box textAlign="center" padding={{ vertical: "l" }} color="inherit">
      <SpaceBetween size="xs">
        <b>{title}</b>
        {children && (
          <Box variant="p" color="text-body-secondary">
            {children}
          </Box>
        )}
        {action}
      </SpaceBetween>
    </Box>
  );
}

interface Asked<T> {
  data: T | undefined;
  error: unknown;
  refetch: () => unknown;
}

/**
 * Shows the answer to a query, or that it is awaited, or why it is not there.
 * An answer that could not be renewed stays, with a word about it.
 */
export function Answer<T>({ of, what, children }: { of: Asked<T>; what: string; children: (data: T) => ReactNode }) {
  if (of.data === undefined) return of.error ? <Failure what={what} error={of.error} retry={() => void of.refetch()} /> : <Loading what={what} />;
  return (
    <>
      {of.error ? (
        <Box padding={{ bottom: "s" }}>
          <Alert type="warning" action={<Button onClick={() => void of.refetch()}>Try again</Button>}>
            What you see may be out of date. <Text>{describe(of.error)}</Text>
          </Alert>
        </Box>
      ) : null}
      {children(of.data)}
    </>
  );
}

/** Stands for a page whose code failed or could not be fetched, as after an upgrade of the server. */
export function Crash() {
  const error = useRouteError();
  return (
    <Box padding="l">
      <Alert type="error" header="This page failed" action={<Button onClick={() => location.reload()}>Load it again</Button>}>
        If the server was upgraded while this page was open, loading it again helps. <Text>{describe(error)}</Text>
      </Alert>
    </Box>
  );
}
