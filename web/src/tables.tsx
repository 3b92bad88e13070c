// The views that are tables: modules, hosts, what had to wait for what.

import type { Report } from "./data";
import { keyOf } from "./data";
import { t } from "./language";
import { duration, size } from "./words";

/** An exchange that can be chosen. */
function Choice({ id, choose }: { id: string; choose: (key: string) => void }) {
  return (
    <button type="button" class="choice" onClick={() => choose(id)}>
      #{id}
    </button>
  );
}

export function Hosts({ report, filter }: { report: Report; filter: (text: string) => void }) {
  const hosts = Object.entries(report.hosts).sort((a, b) => b[1].requests - a[1].requests);
  return (
    <table class="view">
      <caption>{t("Hosts: what each was asked, and how it did")}</caption>
      <thead>
        <tr>
          <th scope="col">{t("Host")}</th>
          <th scope="col">{t("Role")}</th>
          <th scope="col" class="number">
            {t("Requests")}
          </th>
          <th scope="col" class="number">
            {t("Errors")}
          </th>
          <th scope="col" class="number">
            {t("Wait p50")}
          </th>
          <th scope="col" class="number">
            {t("Wait p95")}
          </th>
          <th scope="col" class="number">
            {t("Bytes")}
          </th>
          <th scope="col" class="number">
            {t("Dials")}
          </th>
          <th scope="col">{t("Addresses")}</th>
          <th scope="col">{t("Protocols")}</th>
        </tr>
      </thead>
      <tbody>
        {hosts.map(([name, host]) => (
          <tr key={name}>
            <th scope="row">
              <button type="button" class="choice" onClick={() => filter(`host:"${name}"`)}>
                {name}
              </button>
            </th>
            <td>{host.role === "proxy" ? `GOPROXY ${(host.entry ?? 0) + 1}` : (host.role ?? "").replace("-", " ")}</td>
            <td class="number">{host.requests}</td>
            <td class={host.errors ? "number bad" : "number"}>{host.errors ? `${host.errors} !` : 0}</td>
            <td class="number">{host.wait_p50_us == null ? "" : duration(host.wait_p50_us)}</td>
            <td class="number">{host.wait_p95_us == null ? "" : duration(host.wait_p95_us)}</td>
            <td class="number">{size(host.body_bytes)}</td>
            <td class="number">
              {host.dials}
              {host.failed_dials ? `, ${host.failed_dials} failed !` : ""}
            </td>
            <td>{host.addresses.join(", ")}</td>
            <td>{host.protocols.join(", ")}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export function Modules({ report, filter }: { report: Report; filter: (text: string) => void }) {
  const answered = Object.entries(report.answered).map(([host, modules]) => t("{0} for {1}", host, modules));
  return (
    <table class="view">
      <caption>
        {answered.length > 0 && `${t("GOPROXY: modules answered by {0}.", answered.join(", "))} `}
        {report.ladder.length
          ? t("Below, those for which more than one place was asked.")
          : t("Each was answered by the first place that was asked.")}
      </caption>
      {report.ladder.length > 0 && (
        <>
          <thead>
            <tr>
              <th scope="col">{t("Module")}</th>
              <th scope="col">{t("Answered by")}</th>
              <th scope="col">{t("Others said")}</th>
              <th scope="col" class="number">
                {t("Cost")}
              </th>
            </tr>
          </thead>
          <tbody>
            {report.ladder.map((rung) => (
              <tr key={rung.module}>
                <th scope="row">
                  <button type="button" class="choice" onClick={() => filter(`module:"${rung.module}"`)}>
                    {rung.module}
                  </button>
                </th>
                <td class={rung.answered_by ? "" : "bad"}>{rung.answered_by ?? `${t("nobody")} !`}</td>
                <td>
                  {rung.refused_by
                    .map((one) => `${one.host}: ${one.status ?? t("not reached")}${one.requests > 1 ? ` ×${one.requests}` : ""}`)
                    .join(", ")}
                </td>
                <td class="number">{duration(rung.lost_us)}</td>
              </tr>
            ))}
          </tbody>
        </>
      )}
    </table>
  );
}

export function Why({ report, choose }: { report: Report; choose: (key: string) => void }) {
  const links = report.critical_chain;
  const all = links.reduce((sum, link) => sum + link.took_us + link.gap_us, 0);
  return (
    <table class="view">
      <caption>
        {t(
          "Critical chain: each of these {0} waited for the one before; {1} in all. What is not in it could have been faster without the command ending any sooner.",
          links.length,
          duration(all),
        )}
      </caption>
      <thead>
        <tr>
          <th scope="col">{t("ID")}</th>
          <th scope="col">{t("What")}</th>
          <th scope="col">{t("Host")}</th>
          <th scope="col" class="number">
            {t("Before it, the command's own time")}
          </th>
          <th scope="col" class="number">
            {t("Took")}
          </th>
        </tr>
      </thead>
      <tbody>
        {links.map((link, index) => (
          <tr key={index}>
            <td>{link.exchange === null ? "" : <Choice id={keyOf(link.run, link.exchange)} choose={choose} />}</td>
            <th scope="row">{link.what}</th>
            <td>{link.host}</td>
            <td class="number">{duration(link.gap_us)}</td>
            <td class="number">{duration(link.took_us)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
