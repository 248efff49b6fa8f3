import { useEffect, useState } from "react";
import { span } from "../ui/time";

/** Seconds since 1970, anew each second while it matters. */
export function useSeconds(moving: boolean): number {
  const [now, setNow] = useState(() => Date.now() / 1000);
  useEffect(() => {
    if (!moving) return;
    setNow(Date.now() / 1000);
    const t = setInterval(() => setNow(Date.now() / 1000), 1_000);
    return () => clearInterval(t);
  }, [moving]);
  return now;
}

/** How long something took, or takes until now. */
export function Lasting({ from, to }: { from: number | undefined; to: number | undefined }) {
  const now = useSeconds(from !== undefined && to === undefined);
  return <>{from === undefined ? "-" : span(to === undefined ? Math.floor(now - from) : to - from)}</>;
}
