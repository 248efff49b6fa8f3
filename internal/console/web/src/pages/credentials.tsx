import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import Container from "@cloudscape-design/components/container";
import FormField from "@cloudscape-design/components/form-field";
import Header from "@cloudscape-design/components/header";
import Modal from "../ui/modal";
import Select from "@cloudscape-design/components/select";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Table from "@cloudscape-design/components/table";
import Tabs from "@cloudscape-design/components/tabs";
import { useEffect, useState } from "react";
import { useSearchParams } from "react-router";
import type { SourceCredential } from "../api.gen";
import { Older, useRecords } from "../audit/records";
import { Connect } from "../source/connect";
import { CheckNow, Disconnect, Facts, Health, Users, useCredentials } from "../source/credential";
import { kindText, useProviders, type Provider } from "../source/providers";
import { flash } from "../ui/flash";
import { Page } from "../ui/page";
import { Answer, Empty } from "../ui/state";
import { CredentialStatus } from "../ui/status";
import { Text } from "../ui/text";
import { Time } from "../ui/time";

export default function Credentials() {
  const q = useCredentials();
  const { providers } = useProviders();
  const [params, setParams] = useSearchParams();
  // With the credential that it is about: another one may be chosen meanwhile, by somebody or because the first is gone.
  const [dialog, setDialog] = useState<{ to: "connect" | "replace" | "disconnect"; credential?: SourceCredential }>();
  const chosen = q.credentials.length === 1 ? q.credentials[0] : q.credentials.find((c) => c.arn === params.get("arn"));
  const provider = (c: SourceCredential | undefined) => providers.find((p) => p.serverType === c?.serverType);
  const name = (c: SourceCredential) => provider(c)?.name ?? c.serverType ?? "";
  const choose = (arn: string | undefined) => setParams(arn ? { arn } : {}, { replace: true });

  // Somebody comes back from a provider. What the address says counts if it is so.
  const connected = params.get("connected");
  useEffect(() => {
    if (!connected || !q.data || providers.length === 0) return;
    const c = q.credentials.find((c) => c.serverType === connected && c.authType === "OAUTH");
    if (c) flash("success", `Connected to ${name(c)}`, "The page where you began goes on by itself: you can close this one.");
    choose(c?.arn);
  }, [connected, q.data, providers.length]); // eslint-disable-line

  const connect = (
    <Button variant="primary" onClick={() => setDialog({ to: "connect" })}>
      Connect
    </Button>
  );

  return (
    <Page title="Source credentials" description="Tokens by which builds fetch private repositories, report the status of commits and make webhooks: one for each provider, account and region.">
      <Answer of={q} what="the credentials">
        {() => (
          <Table
            items={q.credentials}
            trackBy="arn"
            selectionType="single"
            selectedItems={chosen ? [chosen] : []}
            onSelectionChange={(e) => choose(e.detail.selectedItems[0]?.arn)}
            onRowClick={(e) => choose(e.detail.item.arn)}
            enableKeyboardNavigation
            wrapLines
            ariaLabels={{
              tableLabel: "Source credentials",
              selectionGroupLabel: "Choose a credential",
              itemSelectionLabel: (_, c) => `Choose ${name(c)}`,
            }}
            header={
              <Header
                counter={`(${q.credentials.length})`}
                actions={
                  <span className="actions">
                    <CheckNow credential={chosen} />
                    <Button disabled={!chosen} onClick={() => setDialog({ to: "replace", credential: chosen })}>
                      Replace
                    </Button>
                    <Button disabled={!chosen} onClick={() => setDialog({ to: "disconnect", credential: chosen })}>
                      Delete
                    </Button>
                    {connect}
                  </span>
                }
              >
                Credentials
              </Header>
            }
            empty={
              <Empty title="Nothing is connected" action={connect}>
                Public repositories can be built without. Connect a provider for private ones, for commit statuses and webhooks.
              </Empty>
            }
            columnDefinitions={[
              { id: "provider", header: "Provider", isRowHeader: true, minWidth: 110, cell: name },
              { id: "state", header: "State", minWidth: 170, cell: (c) => <CredentialStatus state={c.state} /> },
              { id: "user", header: "User", minWidth: 110, cell: (c) => <Text>{c.user ?? "-"}</Text> },
              { id: "kind", header: "Kind", minWidth: 130, cell: (c) => <Text>{kindText(c.authType, c.kind)}</Text> },
              { id: "hosts", header: "Sent to", minWidth: 130, cell: (c) => <Text>{c.hosts?.join(", ") || "-"}</Text> },
              { id: "scopes", header: "Scopes", minWidth: 110, cell: (c) => (c.scopes?.length ? `${c.scopes.length} ${c.scopes.length === 1 ? "scope" : "scopes"}` : "Not told") },
              { id: "expires", header: "Expires", minWidth: 100, cell: (c) => <Time at={c.expires} coming /> },
              { id: "used", header: "Last used", minWidth: 110, cell: (c) => (c.lastUsed ? <Time at={c.lastUsed.at} /> : "Never") },
            ]}
          />
        )}
      </Answer>
      {chosen && <Details key={chosen.arn} credential={chosen} provider={provider(chosen)} name={name(chosen)} />}
      {dialog?.to === "disconnect" && dialog.credential && (
        <Disconnect
          credential={dialog.credential}
          name={name(dialog.credential)}
          onClose={(deleted) => {
            setDialog(undefined);
            if (deleted) choose(undefined);
          }}
        />
      )}
      {dialog && dialog.to !== "disconnect" && <ConnectDialog providers={providers} replaced={dialog.credential} stored={q.credentials} onClose={() => setDialog(undefined)} />}
    </Page>
  );
}

function Details({ credential, provider, name }: { credential: SourceCredential; provider: Provider | undefined; name: string }) {
  return (
    <Container header={<Header variant="h2">{name}</Header>}>
      <Tabs
        ariaLabel={`Details of ${name}`}
        tabs={[
          {
            id: "details",
            label: "Details",
            content: (
              <SpaceBetween size="l">
                <Health credential={credential} provider={provider} />
                <Facts credential={credential} />
              </SpaceBetween>
            ),
          },
          { id: "projects", label: "Projects", content: <Users credential={credential} /> },
          { id: "audit", label: "Audit", content: <Audit arn={credential.arn!} /> },
        ]}
      />
    </Container>
  );
}

/** What was done with a credential, and by whom. */
function Audit({ arn }: { arn: string }) {
  const q = useRecords(arn);
  return (
    <Answer of={q} what="the audit records">
      {() => (
        <Table
          variant="embedded"
          items={q.records}
          trackBy="seq"
          wrapLines
          ariaLabels={{ tableLabel: "Audit records" }}
          empty={<Empty title="No records" />}
          footer={<Older of={q} />}
          columnDefinitions={[
            { id: "at", header: "Time", isRowHeader: true, minWidth: 180, cell: (r) => <Time at={r.at} exact /> },
            { id: "who", header: "By", minWidth: 100, cell: (r) => <Text>{r.principal ?? "-"}</Text> },
            { id: "what", header: "Event", minWidth: 180, cell: (r) => <Text>{r.event ?? "-"}</Text> },
            { id: "outcome", header: "Outcome", minWidth: 100, cell: (r) => <Text>{r.outcome || "OK"}</Text> },
            { id: "more", header: "Message", minWidth: 220, cell: (r) => <Text lines>{[r.message, r.detail].filter(Boolean).join("\n") || "-"}</Text> },
            { id: "from", header: "From", minWidth: 120, cell: (r) => <Text>{r.from ?? "-"}</Text> },
          ]}
        />
      )}
    </Answer>
  );
}

function ConnectDialog({ providers, replaced, stored, onClose }: { providers: Provider[]; replaced: SourceCredential | undefined; stored: SourceCredential[]; onClose: () => void }) {
  const [type, setType] = useState(replaced?.serverType ?? providers[0]?.serverType);
  const provider = providers.find((p) => p.serverType === type);
  const exists = stored.some((c) => c.serverType === type);
  return (
    <Modal visible size="medium" header={replaced ? `Replace the credential of ${provider?.name ?? ""}` : "Connect a source provider"} closeAriaLabel="Close" onDismiss={onClose}>
      <SpaceBetween size="l">
        {!replaced && (
          <FormField label="Source provider">
            <Select
              selectedOption={provider ? { value: provider.serverType, label: provider.name } : null}
              options={providers.map((p) => ({ value: p.serverType, label: p.name }))}
              onChange={(e) => setType(providers.find((p) => p.serverType === e.detail.selectedOption.value)?.serverType)}
            />
          </FormField>
        )}
        {exists && <Box>What is stored now is replaced, for every project that uses it. Its ARN stays.</Box>}
        {provider && <Connect key={provider.serverType} provider={provider} onSaved={onClose} />}
      </SpaceBetween>
    </Modal>
  );
}
