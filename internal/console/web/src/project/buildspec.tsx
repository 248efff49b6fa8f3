import Box from "@cloudscape-design/components/box";
import FormField from "@cloudscape-design/components/form-field";
import Input from "@cloudscape-design/components/input";
import RadioGroup from "@cloudscape-design/components/radio-group";
import SpaceBetween from "@cloudscape-design/components/space-between";
import { useState } from "react";
import { useCall } from "../api";
import type { ProjectSource } from "../api.gen";
import { Editor, useRested, type Mark } from "../ui/editor";
import { describe } from "../ui/flash";
import { Text } from "../ui/text";
import { isInline, minimalBuildspec, type Problems } from "./draft";
import { optional } from "./source";

/** What the build does: a file of the source, or commands that are part of the project. */
export function BuildspecFields({ source, onChange, problems }: { source: ProjectSource; onChange: (buildspec: string | undefined) => void; problems: Problems }) {
  const [inserted, setInserted] = useState(isInline(source.buildspec));
  const [other, setOther] = useState<string | undefined>(); // what the way not chosen had
  // Commands that were written while there was no source are commands still.
  if (!inserted && source.type !== "NO_SOURCE" && isInline(source.buildspec)) setInserted(true);
  const inline = inserted || source.type === "NO_SOURCE";
  const problem = problems["source.buildspec"] && <Text lines>{problems["source.buildspec"]}</Text>;

  function choose(insert: boolean) {
    if (insert === inline) return;
    setInserted(insert);
    setOther(source.buildspec);
    onChange(other ?? (insert ? minimalBuildspec : undefined));
  }
  return (
    <SpaceBetween size="l">
      <FormField label="Build specifications">
        <RadioGroup
          value={inline ? "inline" : "file"}
          onChange={(e) => choose(e.detail.value === "inline")}
          items={[
            { value: "file", label: "Use a buildspec file", description: "Store build commands in a YAML-formatted buildspec file", disabled: source.type === "NO_SOURCE" },
            { value: "inline", label: "Insert build commands", description: "Store build commands as build project configuration" },
          ]}
        />
      </FormField>
      {inline ? (
        <Commands value={source.buildspec ?? ""} onChange={onChange} problem={problem} />
      ) : (
        <FormField
          label={
            <>
              Buildspec name <i>- optional</i>
            </>
          }
          description="By default, CodeBuild looks for a file named buildspec.yml in the source code root directory."
          errorText={problem}
        >
          <Input value={source.buildspec ?? ""} onChange={(e) => onChange(optional(e.detail.value))} placeholder="buildspec.yml" spellcheck={false} />
        </FormField>
      )}
    </SpaceBetween>
  );
}

function Commands({ value, onChange, problem }: { value: string; onChange: (v: string) => void; problem: React.ReactNode }) {
  const rested = useRested(value, 300);
  const q = useCall("CheckBuildspec", { buildspec: rested }, { skip: !rested.trim(), keep: true });
  const marks: Mark[] = rested.trim()
    ? (q.data?.problems ?? []).map((p) => ({ line: p.line ?? 1, column: p.column, severity: p.severity === "WARNING" ? ("WARNING" as const) : ("ERROR" as const), message: p.message ?? "" }))
    : [];
  const phases = q.data?.phases ?? [];
  return (
    <FormField
      label="Build commands"
      description="A buildspec in YAML, with version and phases."
      errorText={problem}
      constraintText={
        q.error
          ? `It cannot be checked now: ${describe(q.error)}`
          : rested.trim() && q.data && marks.every((m) => m.severity !== "ERROR")
            ? phases.map((p) => `${p.name}: ${p.commands} ${p.commands === 1 ? "command" : "commands"}`).join(", ")
            : undefined
      }
      stretch
    >
      <Box>
        <Editor value={value} onChange={onChange} marks={marks} label="Build commands" />
      </Box>
    </FormField>
  );
}
