import type { Behavior } from "../attach";

const YEAR_SECONDS = 365 * 24 * 3600;

/** Tells the server whose days to count by: the browser's time zone, in the cookie `tz`. */
const timezone: Behavior = () => {
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  const secure = location.protocol === "https:" ? "; secure" : "";
  if (timeZone) document.cookie = `tz=${timeZone}; path=/; max-age=${YEAR_SECONDS}; samesite=lax${secure}`;
};

export default timezone;
