import ipaddr from "ipaddr.js";
import { isHostOrRange } from "../config-outbound.ts";

/** What an operator lets calls go to besides public addresses: names of hosts, and ranges of addresses. */
export interface AllowedHosts {
  readonly names: ReadonlySet<string>;
  readonly ranges: readonly (readonly [ipaddr.IPv4 | ipaddr.IPv6, number])[];
}

/** A URL that may be asked, or why not. */
export type CheckedUrl =
  | { readonly url: URL; readonly host: string; readonly isAllowedName: boolean }
  | { readonly refusal: string };

/** Reads `MUSTER_OUTBOUND_ALLOW`: host names, addresses and CIDRs. Null: one of them is none. */
export function allowedHosts(entries: readonly string[]): AllowedHosts | null {
  const names = new Set<string>();
  const ranges: (readonly [ipaddr.IPv4 | ipaddr.IPv6, number])[] = [];
  for (const entry of entries) {
    if (!isHostOrRange(entry)) return null;
    if (ipaddr.isValidCIDR(entry)) ranges.push(ipaddr.parseCIDR(entry));
    else if (isAddress(entry)) ranges.push([ipaddr.parse(entry), entry.includes(":") ? 128 : 32]);
    else names.add(entry.toLowerCase());
  }
  return { names, ranges };
}

/**
 * Looks at a URL alone, without asking a resolver: its form, its scheme, and its host where that is an address.
 * A host that is an address in any other spelling than dotted decimal is refused whatever it stands for: nobody
 * writes one but to get past a filter.
 */
export function checkUrl(text: string, allowed: AllowedHosts): CheckedUrl {
  const url = text.length <= 2_048 ? URL.parse(text) : null;
  if (url === null) return { refusal: "is not a URL" };
  if (url.protocol !== "https:" && url.protocol !== "http:") return { refusal: "is not an https URL" };
  if (url.username !== "" || url.password !== "") return { refusal: "has a user name or a password in it" };
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1").replace(/\.$/, "");
  if (host === "") return { refusal: "names no host" };
  const isAllowedName = allowed.names.has(host.toLowerCase());
  if (isAddress(host)) {
    if (!text.toLowerCase().includes(host)) return { refusal: "has its address in an unusual spelling" };
    const refusal = refusalOf(host, allowed);
    if (refusal !== null) return { refusal };
    if (url.protocol === "http:" && !isInRanges(host, allowed)) return { refusal: "is not an https URL" };
    return { url, host, isAllowedName: false };
  }
  if (/(^|\.)localhost$/i.test(host) && !isAllowedName) return { refusal: "names this machine" };
  return { url, host, isAllowedName };
}

/** Why nothing may be sent to an address: null if it is public, or allowed. */
export function refusalOf(address: string, allowed: AllowedHosts): string | null {
  if (!isAddress(address)) return "has no address that can be read";
  if (isInRanges(address, allowed)) return null;
  const parsed = ipaddr.parse(address);
  const range = parsed.range();
  const isGlobal =
    range === "unicast" &&
    (parsed instanceof ipaddr.IPv4
      ? !metadataAddresses.has(address)
      : parsed.match(ipaddr.IPv6.parse("2000::"), 3));
  return isGlobal ? null : `is at an address that is not public (${wordsOf(range)})`;
}

/** Whether an operator allows the address. */
export function isInRanges(address: string, { ranges }: AllowedHosts): boolean {
  const parsed = ipaddr.parse(address);
  return ranges.some(([base, bits]) => parsed.kind() === base.kind() && parsed.match(base, bits));
}

/** Answers of clouds to whoever asks from inside that stand among public addresses. */
const metadataAddresses: ReadonlySet<string> = new Set(["168.63.129.16"]);

function isAddress(text: string): boolean {
  return ipaddr.IPv4.isValidFourPartDecimal(text) || (text.includes(":") && ipaddr.IPv6.isValid(text));
}

function wordsOf(range: string): string {
  return range === "unicast" ? "metadata" : range;
}
