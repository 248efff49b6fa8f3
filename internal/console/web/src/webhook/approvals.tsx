import Alert from "@cloudscape-design/components/alert";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import Header from "@cloudscape-design/components/header";
import KeyValuePairs from "@cloudscape-design/components/key-value-pairs";
import Modal from "../ui/modal";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Table, { type TableProps } from "@cloudscape-design/components/table";
import { useState } from "react";
import { useAction, useCall } from "../api";
import type { PendingApproval } from "../api.gen";
import { role } from "../project/webhook";
import { commitPage, pullPage } from "../source/pages";
import { useProviders } from "../source/providers";
import { describe, flash } from "../ui/flash";
import { Link, Outside } from "../ui/link";
import { Answer, Empty } from "../ui/state";
import { Copyable, Text } from "../ui/text";
import { Time } from "../ui/time";

/** Pull requests whose builds wait until somebody has looked at them, of one project or of all. */
export function Approvals({ project }: { project?: string }) {
  const q = useCall("ListPendingApprovals", project === undefined ? {} : { projectName: project }, { poll: 15_000 });
  const [asked, setAsked] = useState<PendingApproval>();
  const names = [...new Set((q.data?.approvals ?? []).map((a) => a.projectName ?? ""))].slice(0, 100);
  const projects = useCall("BatchGetProjects", { names }, { skip: names.length === 0 });
  const { providers } = useProviders();
  const hosts = providers.flatMap((p) => p.hosts ?? []);
  /** The source that an approval is about, if it is the project's own repository. */
  const source = (a: PendingApproval) => {
    const s = projects.data?.projects?.find((p) => p.name === a.projectName)?.source;
    return s?.location?.replace(/\.git$/, "").toLowerCase().endsWith(`/${a.repository?.toLowerCase()}`) ? s : undefined;
  };
  return (
    <Answer of={q} what="the pull requests that wait">
      {(d) => {
        const list = d.approvals ?? [];
        return (
          <>
            <Table
              items={list}
              wrapLines
              ariaLabels={{ tableLabel: "Pull requests that wait for approval" }}
              header={
                <Header counter={`(${list.length})`} description="Their code would run on this server. Look at the commit first.">
                  Pull requests that wait for approval
                </Header>
              }
              empty={<Empty title="None waits" />}
              columnDefinitions={([
                {
                  id: "pull",
                  header: "Pull request",
                  isRowHeader: true,
                  minWidth: 200,
                  cell: (a) => (
                    <>
                      <Outside address={pullPage(source(a), a.pullRequest, hosts)}>
                        <Text>{`#${a.pullRequest} ${a.title ?? ""}`}</Text>
                      </Outside>
                      <Box color="text-body-secondary">
                        <Text>{a.repository}</Text>
                      </Box>
                    </>
                  ),
                },
                { id: "author", header: "Author", minWidth: 100, cell: (a) => <Text>{a.author ?? "-"}</Text> },
                { id: "sha", header: "Commit", minWidth: 90, cell: (a) => <Outside address={commitPage(source(a), a.sha, hosts)}><Text code>{a.sha?.slice(0, 7)}</Text></Outside> },
                {
                  id: "project",
                  header: "Project",
                  minWidth: 110,
                  cell: (a) => (
                    <Link to={`/projects/${encodeURIComponent(a.projectName ?? "")}/webhook`}>
                      <Text>{a.projectName}</Text>
                    </Link>
                  ),
                },
                { id: "since", header: "Waits since", minWidth: 120, cell: (a) => <Time at={a.since} /> },
                {
                  id: "do",
                  header: "Approve",
                  minWidth: 160,
                  cell: (a) => (
                    <Button onClick={() => setAsked(a)} ariaLabel={`Approve pull request ${a.pullRequest} of ${a.repository}`}>
                      Approve
                    </Button>
                  ),
                },
              ] satisfies TableProps.ColumnDefinition<PendingApproval>[]).filter((c) => project === undefined || c.id !== "project")}
            />
            {asked && <Confirm approval={asked} onClose={() => setAsked(undefined)} />}
          </>
        );
      }}
    </Answer>
  );
}

function Confirm({ approval: a, onClose }: { approval: PendingApproval; onClose: () => void }) {
  const approve = useAction("ApprovePullRequest");
  return (
    <Modal
      visible
      header={`Build pull request ${a.pullRequest}?`}
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
              loading={approve.isPending}
              onClick={() =>
                approve.mutate(
                  { projectName: a.projectName!, repository: a.repository, pullRequest: a.pullRequest!, sha: a.sha! },
                  {
                    onSuccess: () => {
                      flash("success", `Approved pull request ${a.pullRequest} of ${a.repository}`, `Commit ${a.sha} is built.`);
                      onClose();
                    },
                  },
                )
              }
            >
              Approve this commit
            </Button>
          </SpaceBetween>
        </Box>
      }
    >
      <SpaceBetween size="m">
        {approve.error && (
          <Alert type="error" header="Not approved">
            <Text lines>{describe(approve.error)}</Text>
          </Alert>
        )}
        <Box>
          You approve this one commit, which you have looked at. If the author pushes another one, that waits again. The build runs the pull request's code with what project <Text>{a.projectName}</Text> has:
          its variables and secrets.
        </Box>
        <KeyValuePairs
          columns={1}
          items={[
            { label: "Pull request", value: <Text>{`#${a.pullRequest} ${a.title ?? ""}, by ${a.author ?? "?"}`}</Text> },
            { label: "Repository", value: <Text>{a.repository}</Text> },
            { label: "Commit", value: <Copyable what="the commit">{a.sha ?? ""}</Copyable> },
            { label: "Or comment this at the provider", value: <Copyable what="the comment">{a.command ?? ""}</Copyable> },
            { label: "Whose comment counts", value: <Text>{(a.approverRoles ?? []).map(role).join(", ") || "Whoever may write to the repository"}</Text> },
          ]}
        />
      </SpaceBetween>
    </Modal>
  );
}
