import CloudscapeModal, { type ModalProps } from "@cloudscape-design/components/modal";
import { useEffect, useState } from "react";
import { keepFocus } from "./focus";

/**
 * A dialog that gives the focus back to what had it. Cloudscape's does so when
 * it is hidden, and not when it is taken off the page.
 */
export default function Modal(props: ModalProps) {
  const [before] = useState(() => document.activeElement);
  useEffect(
    () => () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
      keepFocus();
    },
    [before],
  );
  return <CloudscapeModal {...props} />;
}
