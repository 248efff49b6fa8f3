import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import FormField from "@cloudscape-design/components/form-field";
import Header from "@cloudscape-design/components/header";
import Input from "@cloudscape-design/components/input";
import Table from "@cloudscape-design/components/table";
import { useState } from "react";
import { useSearchParams } from "react-router";
import { Older, useRecords } from "../audit/records";
import { useRested } from "../ui/editor";
import { Page } from "../ui/page";
import { Answer, Empty } from "../ui/state";
import { Status } from "../ui/status";
import { Text } from "../ui/text";
import { Time } from "../ui/time";

export default function Audit() {
  const [params, setParams] = useSearchParams();
  const [resource, setResource] = useState(params.get("resource") ?? "");
  const of = useRested(resource.trim(), 400);
  const q = useRecords(of);
  function set(text: string) {
    setResource(text);
    setParams(text.trim() ? { resource: text.trim() } : {}, { replace: true });
  }
  return (
    <Page title="Audit" description="Who did what in this account, the newest first. The records are a chain: whoever changes one breaks those after it.">
      <Answer of={q} what="the audit records">
        {() => (
          <Table
            items={q.records}
            trackBy="seq"
            wrapLines
            enableKeyboardNavigation
            ariaLabels={{ tableLabel: "Audit records" }}
            header={
              <Header counter={`(${q.records.length}${q.hasNextPage ? "+" : ""})`} actions={<Button iconName="refresh" ariaLabel="Read the records again" loading={q.isFetching} onClick={() => void q.refetch()} />}>
                Records
              </Header>
            }
            filter={
              <FormField label="Resource" description="The ARN of a project, a credential or a key.">
                <Input type="search" value={resource} onChange={(e) => set(e.detail.value)} placeholder="arn:aws:codebuild:..." spellcheck={false} />
              </FormField>
            }
            empty={<Empty title={of ? "There is no record of this resource" : "No records"} action={of && <Button onClick={() => set("")}>All records</Button>} />}
            footer={<Older of={q} />}
            columnDefinitions={[
              { id: "at", header: "Time", isRowHeader: true, minWidth: 170, cell: (r) => <Time at={r.at} exact /> },
              {
                id: "who",
                header: "By, from",
                minWidth: 120,
                cell: (r) => (
                  <>
                    <span title={r.principal}>
                      <Text>{r.principal?.split(/[:/]/).at(-1) ?? "-"}</Text>
                    </span>
                    {r.from && (
                      <Box color="text-body-secondary">
                        <Text>{r.from}</Text>
                      </Box>
                    )}
                  </>
                ),
              },
              { id: "what", header: "Event", minWidth: 190, cell: (r) => <span className="status"><Text>{r.event ?? "-"}</Text></span> },
              {
                id: "resource",
                header: "Resource",
                minWidth: 160,
                cell: (r) =>
                  r.resource ? (
                    <button type="button" className="linklike" onClick={() => set(r.resource!)} title="Only the records of this resource">
                      <Text>{r.resource.split(":").slice(5).join(":") || r.resource}</Text>
                    </button>
                  ) : (
                    "-"
                  ),
              },
              { id: "outcome", header: "Outcome", minWidth: 130, cell: (r) => (r.outcome ? <Status type="error">{r.outcome}</Status> : <Status type="success">OK</Status>) },
              { id: "more", header: "Message", minWidth: 200, cell: (r) => <Text lines>{[r.message, r.detail].filter(Boolean).join("\n") || "-"}</Text> },
            ]}
          />
        )}
      </Answer>
    </Page>
  );
}
