import Box from "@cloudscape-design/components/box";
import Container from "@cloudscape-design/components/container";
import FormField from "@cloudscape-design/components/form-field";
import Header from "@cloudscape-design/components/header";
import KeyValuePairs from "@cloudscape-design/components/key-value-pairs";
import RadioGroup from "@cloudscape-design/components/radio-group";
import { useCall } from "../api";
import { useTheme, type Theme } from "../theme";
import { Page } from "../ui/page";
import { Answer } from "../ui/state";
import { Copyable, Text } from "../ui/text";
import { Time } from "../ui/time";

const verify: Record<string, string> = {
  reject: "An import is refused when the provider refuses the token",
  record: "An import keeps a token that the provider refuses, and notes it",
  off: "The provider is not asked",
};

export default function Settings() {
  const server = useCall("DescribeServer", {});
  const session = useCall("DescribeSession", {});
  const [theme, setTheme] = useTheme();
  return (
    <Page title="Settings">
      <Answer of={session} what="your session">
        {(s) => (
          <Container header={<Header variant="h2">You</Header>}>
            <KeyValuePairs
              columns={3}
              minColumnWidth={200}
              items={[
                { label: "User", value: <Text>{s.user}</Text> },
                { label: "Account", value: <Copyable what="the account">{s.account ?? ""}</Copyable> },
                { label: "Access key", value: <Copyable what="the access key ID">{s.accessKeyId ?? ""}</Copyable> },
                { label: "Rights", value: s.restricted ? "What the policy of the key allows" : "All in the account" },
                { label: "Region", value: <Text>{s.region}</Text> },
                { label: "The session ends", value: <Time at={s.expires} coming /> },
              ]}
            />
          </Container>
        )}
      </Answer>
      <Answer of={server} what="the server's settings">
        {(d) => (
          <Container header={<Header variant="h2" description="They are flags, variables or the file of corbel serve, and are changed there.">Server</Header>}>
            <KeyValuePairs
              columns={3}
              minColumnWidth={200}
              items={[
                { label: "Version", value: <Text>{d.version}</Text> },
                { label: "Address", value: d.publicUrl ? <Copyable what="the address">{d.publicUrl}</Copyable> : "-" },
                { label: "Builds at a time", value: d.builds === 0 ? "None: they wait" : String(d.builds ?? "-") },
                { label: "Where builds run", value: <Text>{d.executor ?? "-"}</Text> },
                { label: "Tokens when imported", value: <Text>{verify[d.verifyCredentials ?? ""] ?? d.verifyCredentials ?? "-"}</Text> },
              ]}
            />
          </Container>
        )}
      </Answer>
      <Container header={<Header variant="h2">This browser</Header>}>
        <FormField label="Theme">
          <RadioGroup
            value={theme}
            onChange={(e) => setTheme(e.detail.value as Theme)}
            items={[
              { value: "system", label: "As the system" },
              { value: "light", label: "Light" },
              { value: "dark", label: "Dark" },
            ]}
          />
        </FormField>
      </Container>
      <Box color="text-body-secondary">
        On the command line the same is told by <Box variant="code" display="inline">corbel serve -h</Box> and <Box variant="code" display="inline">corbel env</Box>.
      </Box>
    </Page>
  );
}
