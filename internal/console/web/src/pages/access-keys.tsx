import Alert from "@cloudscape-design/components/alert";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import Checkbox from "@cloudscape-design/components/checkbox";
import FormField from "@cloudscape-design/components/form-field";
import Header from "@cloudscape-design/components/header";
import Input from "@cloudscape-design/components/input";
import Modal from "../ui/modal";
import Select from "@cloudscape-design/components/select";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Table from "@cloudscape-design/components/table";
import { useRef, useState } from "react";
import { call, queries, useAction, useCall } from "../api";
import type { AccessKey, CreateAccessKeyOutput } from "../api.gen";
import { describe, flash } from "../ui/flash";
import { Editor } from "../ui/editor";
import { problems } from "../ui/json";
import { Page } from "../ui/page";
import { Answer, Empty } from "../ui/state";
import { Copyable, Text } from "../ui/text";
import { Time } from "../ui/time";

export default function AccessKeys() {
  const q = useCall("ListAccessKeys", {});
  const session = useCall("DescribeSession", {});
  const keys = q.data?.accessKeys ?? [];
  const [chosenId, setChosenId] = useState<string>();
  const chosen = keys.find((k) => k.accessKeyId === chosenId);
  const [dialog, setDialog] = useState<{ to: "create" | "policy" | "delete"; key?: AccessKey }>(); // with the key that it is about
  const close = () => setDialog(undefined);
  const own = (k: AccessKey) => k.accessKeyId === session.data?.accessKeyId;
  const create = (
    <Button variant="primary" onClick={() => setDialog({ to: "create" })}>
      Create access key
    </Button>
  );
  return (
    <Page title="Access keys" description="They sign requests of the AWS CLI, SDKs and Terraform, and sign in to this console.">
      <Answer of={q} what="the access keys">
        {() => (
          <Table
            items={keys}
            trackBy="accessKeyId"
            selectionType="single"
            selectedItems={chosen ? [chosen] : []}
            onSelectionChange={(e) => setChosenId(e.detail.selectedItems[0]?.accessKeyId)}
            onRowClick={(e) => setChosenId(e.detail.item.accessKeyId)}
            wrapLines
            enableKeyboardNavigation
            ariaLabels={{ tableLabel: "Access keys", selectionGroupLabel: "Choose a key", itemSelectionLabel: (_, k) => `Choose key ${k.accessKeyId}` }}
            header={
              <Header
                counter={`(${keys.length})`}
                actions={
                  <span className="actions">
                    <Button disabled={!chosen} onClick={() => setDialog({ to: "policy", key: chosen })}>
                      Edit policy
                    </Button>
                    <Button disabled={!chosen} onClick={() => setDialog({ to: "delete", key: chosen })}>
                      Delete
                    </Button>
                    {create}
                  </span>
                }
              >
                Keys
              </Header>
            }
            empty={<Empty title="No keys" action={create} />}
            columnDefinitions={[
              {
                id: "id",
                header: "Access key ID",
                isRowHeader: true,
                minWidth: 220,
                cell: (k) => (
                  <>
                    <Text code>{k.accessKeyId}</Text>
                    {own(k) && " (yours)"}
                  </>
                ),
              },
              { id: "user", header: "User", minWidth: 120, cell: (k) => <Text>{k.user}</Text> },
              { id: "rights", header: "Rights", minWidth: 180, cell: (k) => (k.policy ? "What its policy allows" : "All in the account") },
              { id: "created", header: "Created", minWidth: 130, cell: (k) => <Time at={k.created} /> },
              { id: "expires", header: "Expires", minWidth: 130, cell: (k) => (k.expires ? <Time at={k.expires} coming /> : "Never") },
            ]}
          />
        )}
      </Answer>
      {dialog?.to === "create" && <Create onClose={close} />}
      {dialog?.to === "policy" && dialog.key && <Policy accessKey={dialog.key} own={own(dialog.key)} onClose={close} />}
      {dialog?.to === "delete" && dialog.key && <Delete accessKey={dialog.key} own={own(dialog.key)} onClose={close} />}
    </Page>
  );
}

const example = `{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": ["codebuild:BatchGet*", "codebuild:List*", "codebuild:StartBuild", "logs:*", "corbel:Describe*", "corbel:List*"],
      "Resource": "*"
    }
  ]
}
`;

/** The policy of a key: none, or a document that is checked as it is typed. */
function PolicyField({ value, onChange }: { value: string | undefined; onChange: (p: string | undefined) => void }) {
  const typed = useRef(value ?? example); // comes back when the box is ticked again
  if (value !== undefined) typed.current = value;
  return (
    <SpaceBetween size="s">
      <Checkbox checked={value !== undefined} onChange={(e) => onChange(e.detail.checked ? typed.current : undefined)} description="Without a policy the key has all rights in the account.">
        Restrict the key by a policy
      </Checkbox>
      {value !== undefined && (
        <FormField label="Policy" description="An IAM policy document. Operations of Corbel's own have the prefix corbel:." stretch>
          <Editor label="Policy" value={value} onChange={onChange} marks={problems(value)} />
        </FormField>
      )}
    </SpaceBetween>
  );
}

const lifetimes = [
  { value: "", label: "Never" },
  { value: "1", label: "In a day" },
  { value: "7", label: "In 7 days" },
  { value: "30", label: "In 30 days" },
  { value: "90", label: "In 90 days" },
  { value: "365", label: "In a year" },
];

function Create({ onClose }: { onClose: () => void }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<unknown>();
  const [user, setUser] = useState("");
  const [policy, setPolicy] = useState<string>();
  const [days, setDays] = useState(lifetimes[0]!);
  const [made, setMade] = useState<CreateAccessKeyOutput>();

  // Not by useAction: it would keep the secret in its memory.
  async function go() {
    setBusy(true);
    setProblem(undefined);
    try {
      setMade(await call("CreateAccessKey", { user: user.trim(), ...(policy !== undefined && { policy }), ...(days.value && { expires: Math.floor(Date.now() / 1000) + Number(days.value) * 86_400 }) }));
      await queries.invalidateQueries();
    } catch (e) {
      setProblem(e);
    }
    setBusy(false);
  }

  if (made) return <Made made={made} onClose={onClose} />;
  return (
    <Modal
      visible
      size="large"
      header="Create access key"
      closeAriaLabel="Close"
      onDismiss={onClose}
      footer={
        <Box float="right">
          <SpaceBetween direction="horizontal" size="xs">
            <Button variant="link" onClick={onClose}>
              Cancel
            </Button>
            <Button
              variant="primary"
              loading={busy}
              disabled={!user.trim() || (policy !== undefined && problems(policy).length > 0)}
              onClick={() => void go()}
            >
              Create
            </Button>
          </SpaceBetween>
        </Box>
      }
    >
      <SpaceBetween size="l">
        {problem ? (
          <Alert type="error" header="The key was not created">
            <Text lines>{describe(problem)}</Text>
          </Alert>
        ) : null}
        <FormField label="User" description="Whom the audit and builds name as the one who did it.">
          <Input value={user} onChange={(e) => setUser(e.detail.value)} spellcheck={false} autoFocus />
        </FormField>
        <FormField label="Expires">
          <Select selectedOption={days} options={lifetimes} onChange={(e) => setDays(lifetimes.find((l) => l.value === e.detail.selectedOption.value)!)} />
        </FormField>
        <PolicyField value={policy} onChange={setPolicy} />
      </SpaceBetween>
    </Modal>
  );
}

/** Shows a new key's secret, which is not to be had again. */
function Made({ made, onClose }: { made: CreateAccessKeyOutput; onClose: () => void }) {
  const [seen, setSeen] = useState(false);
  const [left, setLeft] = useState(false); // tried to close it before
  return (
    <Modal
      visible
      size="medium"
      header="The key is created"
      closeAriaLabel="Close"
      onDismiss={() => (seen ? onClose() : setLeft(true))}
      footer={
        <Box float="right">
          <Button variant="primary" onClick={() => (seen ? onClose() : setLeft(true))}>
            Done
          </Button>
        </Box>
      }
    >
      <SpaceBetween size="m">
        <Alert type="warning">The secret is shown this once. Copy it now; if it is lost, create another key.</Alert>
        <FormField label="Access key ID">
          <Copyable what="the access key ID">{made.accessKey?.accessKeyId ?? ""}</Copyable>
        </FormField>
        <FormField label="Secret access key">
          <Copyable what="the secret access key">{made.secretAccessKey ?? ""}</Copyable>
        </FormField>
        <FormField errorText={left && !seen && "Copy the secret and tick this, then close: it is not shown again."}>
          <Checkbox checked={seen} onChange={(e) => setSeen(e.detail.checked)}>
            I have copied the secret
          </Checkbox>
        </FormField>
      </SpaceBetween>
    </Modal>
  );
}

function Policy({ accessKey: k, own, onClose }: { accessKey: AccessKey; own: boolean; onClose: () => void }) {
  const put = useAction("PutAccessKeyPolicy");
  const [policy, setPolicy] = useState(() => k.policy && pretty(k.policy));
  return (
    <Modal
      visible
      size="large"
      header={`Policy of ${k.accessKeyId}`}
      closeAriaLabel="Close"
      onDismiss={onClose}
      footer={
        <Box float="right">
          <SpaceBetween direction="horizontal" size="xs">
            <Button variant="link" onClick={onClose}>
              Cancel
            </Button>
            <Button
              variant="primary"
              loading={put.isPending}
              disabled={policy !== undefined && problems(policy).length > 0}
              onClick={() =>
                put.mutate(
                  { accessKeyId: k.accessKeyId!, ...(policy !== undefined && { policy }) },
                  {
                    onSuccess: () => {
                      flash("success", `Changed the policy of ${k.accessKeyId}`, "It holds from now on.");
                      onClose();
                    },
                  },
                )
              }
            >
              Save policy
            </Button>
          </SpaceBetween>
        </Box>
      }
    >
      <SpaceBetween size="l">
        {put.error && (
          <Alert type="error" header="The policy was not changed">
            <Text lines>{describe(put.error)}</Text>
          </Alert>
        )}
        {own && <Alert type="warning">You are signed in with this key. What the policy does not allow you cannot do afterwards, this page included.</Alert>}
        <PolicyField value={policy} onChange={setPolicy} />
      </SpaceBetween>
    </Modal>
  );
}

function pretty(policy: string): string {
  try {
    return JSON.stringify(JSON.parse(policy), undefined, 2) + "\n";
  } catch {
    return policy;
  }
}

function Delete({ accessKey: k, own, onClose }: { accessKey: AccessKey; own: boolean; onClose: () => void }) {
  const del = useAction("DeleteAccessKey");
  return (
    <Modal
      visible
      header="Delete the access key?"
      closeAriaLabel="Close"
      onDismiss={onClose}
      footer={
        <Box float="right">
          <SpaceBetween direction="horizontal" size="xs">
            <Button variant="link" onClick={onClose}>
              Cancel
            </Button>
            <Button
              variant="primary"
              loading={del.isPending}
              onClick={() =>
                del.mutate(
                  { accessKeyId: k.accessKeyId! },
                  {
                    onSuccess: () => {
                      flash("success", `Deleted key ${k.accessKeyId}`);
                      onClose();
                    },
                  },
                )
              }
            >
              Delete
            </Button>
          </SpaceBetween>
        </Box>
      }
    >
      <SpaceBetween size="m">
        {del.error && (
          <Alert type="error" header="The key was not deleted">
            <Text lines>{describe(del.error)}</Text>
          </Alert>
        )}
        {own && <Alert type="warning">You are signed in with this key. Your session ends when it is deleted.</Alert>}
        <Box>
          Whoever uses key <Text code>{k.accessKeyId}</Text> of <Text>{k.user}</Text> is refused within a moment, and sessions of the console that began with it end. This cannot be undone.
        </Box>
      </SpaceBetween>
    </Modal>
  );
}
