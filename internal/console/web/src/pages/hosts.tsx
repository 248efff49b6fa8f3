import Box from "@cloudscape-design/components/box";
import Container from "@cloudscape-design/components/container";
import Header from "@cloudscape-design/components/header";
import SpaceBetween from "@cloudscape-design/components/space-between";
import StatusIndicator from "@cloudscape-design/components/status-indicator";
import Table from "@cloudscape-design/components/table";
import { useProviders } from "../source/providers";
import { Page } from "../ui/page";
import { Answer, Empty } from "../ui/state";
import { Copyable, Text } from "../ui/text";

export default function Hosts() {
  const { providers, ...q } = useProviders();
  const rows = providers.flatMap((p) => (p.hosts ?? []).map((h) => ({ provider: p, host: h })));
  const without = providers.filter((p) => !p.hosts?.length);
  return (
    <Page title="Hosts" description="The hosts that stored tokens may be sent to. To any other, a token never goes, whatever a project says.">
      <Answer of={q} what="the hosts">
        {() => (
          <Table
            items={rows}
            wrapLines
            ariaLabels={{ tableLabel: "Hosts" }}
            header={<Header counter={`(${rows.length})`}>Hosts</Header>}
            empty={<Empty title="No hosts" />}
            columnDefinitions={[
              { id: "name", header: "Host", isRowHeader: true, minWidth: 140, cell: (r) => <Text>{r.host.name}</Text> },
              { id: "provider", header: "Provider", minWidth: 160, cell: (r) => <Text>{r.provider.name}</Text> },
              { id: "type", header: "Server type", minWidth: 180, cell: (r) => <Text code>{r.provider.serverType}</Text> },
              { id: "git", header: "Git", minWidth: 200, cell: (r) => <Text>{r.host.git ?? "-"}</Text> },
              { id: "api", header: "API", minWidth: 220, cell: (r) => <Text>{r.host.api ?? "-"}</Text> },
              {
                id: "tls",
                header: "Certificate",
                minWidth: 150,
                cell: (r) =>
                  r.host.insecureSsl ? <StatusIndicator type="warning">Not checked</StatusIndicator> : r.host.git?.startsWith("http://") ? <StatusIndicator type="warning">Plain HTTP</StatusIndicator> : "Checked",
              },
            ]}
          />
        )}
      </Answer>
      <Container header={<Header variant="h2">Change them</Header>}>
        <SpaceBetween size="m">
          <Box>
            A host decides where tokens go, so it is changed by whoever runs the server, on its machine. The running server knows a change at once.
            {without.length > 0 && ` No host is there yet for ${without.map((p) => p.name).join(", ")}.`}
          </Box>
          <Copyable what="the command that adds a host">corbel hosts add GITHUB_ENTERPRISE=https://ghe.example.com</Copyable>
          <Copyable what="the command that removes a host">corbel hosts remove ghe.example.com</Copyable>
        </SpaceBetween>
      </Container>
    </Page>
  );
}
