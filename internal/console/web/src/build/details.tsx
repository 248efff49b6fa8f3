import Box from "@cloudscape-design/components/box";
import Container from "@cloudscape-design/components/container";
import CloudscapeLink from "@cloudscape-design/components/link";
import Header from "@cloudscape-design/components/header";
import KeyValuePairs, { type KeyValuePairsProps } from "@cloudscape-design/components/key-value-pairs";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Table from "@cloudscape-design/components/table";
import type { ReactNode } from "react";
import type { Build } from "../api.gen";
import { isInline } from "../project/draft";
import { useProviders } from "../source/providers";
import { isWebAddress } from "../ui/link";
import { Empty } from "../ui/state";
import { Copyable, Text } from "../ui/text";
import { Time, span } from "../ui/time";
import { Commit } from "./commit";

function Part({ title, items, children }: { title: string; items?: KeyValuePairsProps["items"]; children?: ReactNode }) {
  return (
    <Container header={<Header variant="h2">{title}</Header>}>
      <SpaceBetween size="l">
        {items && <KeyValuePairs columns={3} minColumnWidth={200} items={items} />}
        {children}
      </SpaceBetween>
    </Container>
  );
}

/** Everything that was settled when the build was requested, and what it was resolved to. */
export function BuildDetails({ build: b }: { build: Build }) {
  const { providers } = useProviders();
  const s = b.source;
  const e = b.environment;
  const minutes = (n: number | undefined) => (n === undefined ? "-" : span(n * 60));
  return (
    <SpaceBetween size="l">
      <Part
        title="Build"
        items={[
          { label: "ARN", value: <Copyable what="the ARN">{b.arn ?? ""}</Copyable> },
          { label: "Initiator", value: <Text>{b.initiator ?? "-"}</Text> },
          { label: "Started", value: <Time at={b.startTime} exact /> },
          { label: "Ended", value: <Time at={b.endTime} exact /> },
          { label: "Timeout", value: minutes(b.timeoutInMinutes) },
          { label: "Queued timeout", value: minutes(b.queuedTimeoutInMinutes) },
        ]}
      />
      <Part
        title="Source"
        items={[
          { label: "Source provider", value: providers.find((p) => p.serverType === s?.type)?.name ?? (s?.type === "NO_SOURCE" ? "No source" : (s?.type ?? "-")) },
          {
            label: "Repository",
            value: isWebAddress(s?.location) ? (
              <CloudscapeLink external href={s.location}>
                <Text>{s.location}</Text>
              </CloudscapeLink>
            ) : (
              <Text>{s?.location ?? "-"}</Text>
            ),
          },
          { label: "Source version", value: b.sourceVersion ? <Text>{b.sourceVersion}</Text> : s?.type === "NO_SOURCE" ? "-" : "The default branch" },
          { label: "Resolved source version", value: <Commit source={s} sha={b.resolvedSourceVersion} /> },
          { label: "Git clone depth", value: s?.gitCloneDepth ? String(s.gitCloneDepth) : "Full" },
          { label: "Build status to the provider", value: s?.reportBuildStatus ? "Reported" : "Not reported" },
        ]}
      >
        {(b.secondarySources ?? []).map((x) => (
          <KeyValuePairs
            key={x.sourceIdentifier}
            columns={3}
            minColumnWidth={200}
            items={[
              { label: `Source ${x.sourceIdentifier ?? ""}`, value: <Text>{x.location ?? x.type}</Text> },
              { label: "Source version", value: <Text>{b.secondarySourceVersions?.find((v) => v.sourceIdentifier === x.sourceIdentifier)?.sourceVersion ?? "-"}</Text> },
            ]}
          />
        ))}
      </Part>
      <Part
        title="Environment"
        items={[
          { label: "Image", value: <Text>{e?.image}</Text> },
          { label: "Environment type", value: e?.type ?? "-" },
          { label: "Compute", value: e?.computeType ?? "-" },
          { label: "Privileged", value: e?.privilegedMode ? "Yes" : "No" },
          { label: "Service role", value: <Text>{b.serviceRole}</Text> },
          { label: "Log group and stream", value: <Text>{b.logs?.groupName ? `${b.logs.groupName} ${b.logs.streamName ?? ""}` : "-"}</Text> },
        ]}
      />
      <Part title="Buildspec">
        {isInline(s?.buildspec) ? (
          <pre className="code-block" tabIndex={0} aria-label="The buildspec">
            <Text lines>{s?.buildspec}</Text>
          </pre>
        ) : (
          <Text>{s?.buildspec || "buildspec.yml in the root of the source"}</Text>
        )}
      </Part>
    </SpaceBetween>
  );
}

const kinds: Record<string, string> = { PLAINTEXT: "Plaintext", PARAMETER_STORE: "Parameter Store", SECRETS_MANAGER: "Secrets Manager" };

/** The variables of a build, as the API gives them: of what is kept in Secrets Manager or Parameter Store only the reference. */
export function Variables({ build: b }: { build: Build }) {
  const given = b.environment?.environmentVariables ?? [];
  const exported = b.exportedEnvironmentVariables ?? [];
  return (
    <SpaceBetween size="l">
      <Table
        items={given}
        wrapLines
        ariaLabels={{ tableLabel: "Environment variables" }}
        header={<Header counter={`(${given.length})`}>Environment variables</Header>}
        empty={<Empty title="No variables">Neither the project nor whoever started the build gave any.</Empty>}
        columnDefinitions={[
          { id: "name", header: "Name", isRowHeader: true, cell: (v) => <Text code>{v.name}</Text> },
          {
            id: "value",
            header: "Value",
            cell: (v) => (
              <>
                <Text code>{v.value}</Text>
                {v.type && v.type !== "PLAINTEXT" && <Box color="text-body-secondary">The name of a secret; its value is not shown</Box>}
              </>
            ),
          },
          { id: "type", header: "Type", cell: (v) => kinds[v.type ?? "PLAINTEXT"] ?? v.type },
        ]}
      />
      <Table
        items={exported}
        wrapLines
        ariaLabels={{ tableLabel: "Exported variables" }}
        header={<Header counter={`(${exported.length})`}>Exported variables</Header>}
        empty={<Empty title="No exported variables">Those that the buildspec names under exported-variables are here when the build has ended.</Empty>}
        columnDefinitions={[
          { id: "name", header: "Name", isRowHeader: true, cell: (v) => <Text code>{v.name}</Text> },
          { id: "value", header: "Value", cell: (v) => <Text code>{v.value}</Text> },
        ]}
      />
    </SpaceBetween>
  );
}
