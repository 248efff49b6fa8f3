import ExpandableSection from "@cloudscape-design/components/expandable-section";
import { useState, type ReactNode } from "react";
import type { Problems } from "./draft";

interface Props {
  title: string;
  description?: string;
  open?: boolean;
  problems: Problems;
  /** The members whose fields are in it. */
  about: RegExp;
  children: ReactNode;
}

/** A part of the form that is folded away, until it is opened or something in it is refused. */
export function Folded({ title, description, open: first = false, problems, about, children }: Props) {
  const [open, setOpen] = useState(first);
  const [known, setKnown] = useState(problems);
  if (problems !== known) {
    setKnown(problems);
    if (Object.keys(problems).some((k) => about.test(k))) setOpen(true);
  }
  return (
    <ExpandableSection headerText={title} headerDescription={description} expanded={open} onChange={(e) => setOpen(e.detail.expanded)}>
      {children}
    </ExpandableSection>
  );
}
