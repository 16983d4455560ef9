"""The compose file runs the service as it is meant to be run: hardened, durable, observable."""

import copy
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings
from service.telemetry import Telemetry

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"
Services = dict[str, dict[str, Any]]


@pytest.fixture
def compose() -> dict[str, Any]:
    """Read the compose file."""
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))
    return loaded


@pytest.fixture
def services(compose: dict[str, Any]) -> Services:
    """Return a copy of the services that a test may spoil."""
    found: Services = copy.deepcopy(compose["services"])
    return found


def weaknesses(services: Services) -> set[str]:
    """Name everything about the services that is not hardened."""
    return {f"{name}: {w}" for name, service in services.items() for w in _weak(service)}


def _weak(service: dict[str, Any]) -> set[str]:
    is_one_shot = service.get("restart") == "no"
    image = service.get("image", "")
    user = str(service.get("user", ""))
    claims = {
        "runs as root": bool(re.fullmatch(r"[1-9]\d*:\d+", user)),
        "writable root": service.get("read_only") is True,
        "no safe /tmp": all("noexec" in mount for mount in service.get("tmpfs", [""])),
        "keeps capabilities": service.get("cap_drop") == ["ALL"] and "cap_add" not in service,
        "may gain privileges": "no-new-privileges:true" in service.get("security_opt", []),
        "unbounded": all(limit in service for limit in ("mem_limit", "cpus", "pids_limit")),
        "no health check": is_one_shot or "test" in service.get("healthcheck", {}),
        "image not pinned": bool(re.search(r":[0-9v][\w.-]*\.[\w.-]+$", image)),
        "privileged": not service.get("privileged", False),
        "open to the network": all(p.startswith("127.0.0.1:") for p in service.get("ports", [])),
    }
    return {claim for claim, holds in claims.items() if not holds}


def unknown_settings(services: Services) -> set[str]:
    """Return the NEWSBERT_ variables that the service would not read."""
    known = {f"NEWSBERT_{name.upper()}" for name in Settings.model_fields}
    used = {name for service in services.values() for name in service.get("environment", {})}
    return {name for name in used if name.startswith("NEWSBERT_")} - known


def unknown_metrics(expressions: list[str]) -> set[str]:
    """Return the metric names in PromQL that no process of the service exposes."""
    names = {n for e in expressions for n in re.findall(r"\bnewsbert_\w+", e)}
    return names - exposed_metrics()


def exposed_metrics() -> set[str]:
    """Return the names of all series that the service may expose."""
    endings = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    families = Telemetry().registry.collect()
    return {f"{family.name}{end}" for family in families for end in endings[family.type]}


def test_the_file_is_valid_by_the_compose_specification() -> None:
    """The official JSON schema accepts the file."""
    assert schema_check(FILE).returncode == 0


def test_the_schema_check_fails_on_an_unknown_key(tmp_path: Path) -> None:
    """The guard above can fail."""
    broken = tmp_path / "docker-compose.yml"
    broken.write_text("services: {redis: {image: redis, reed_only: true}}")
    assert schema_check(broken).returncode == 1


def test_every_service_is_hardened(services: Services) -> None:
    """Non-root, read-only, no capabilities, bounded, pinned, health-checked, on loopback only."""
    assert weaknesses(services) == set()


@pytest.mark.parametrize(
    ("spoil", "weakness"),
    [
        (lambda s: s.update(user="0:0"), "runs as root"),
        (lambda s: s.pop("user"), "runs as root"),
        (lambda s: s.update(read_only=False), "writable root"),
        (lambda s: s.update(tmpfs=["/tmp"]), "no safe /tmp"),  # noqa: S108
        (lambda s: s.pop("tmpfs"), "no safe /tmp"),
        (lambda s: s.pop("cap_drop"), "keeps capabilities"),
        (lambda s: s.update(cap_add=["SYS_ADMIN"]), "keeps capabilities"),
        (lambda s: s.pop("security_opt"), "may gain privileges"),
        (lambda s: s.pop("pids_limit"), "unbounded"),
        (lambda s: s.pop("mem_limit"), "unbounded"),
        (lambda s: s.update(healthcheck={"disable": True}), "no health check"),
        (lambda s: s.update(image="redis:latest"), "image not pinned"),
        (lambda s: s.update(image="redis"), "image not pinned"),
        (lambda s: s.update(privileged=True), "privileged"),
        (lambda s: s.update(ports=["6379:6379"]), "open to the network"),
    ],
)
def test_a_weakened_service_is_noticed(
    services: Services, spoil: Callable[[dict[str, Any]], Any], weakness: str
) -> None:
    """Each claim of hardening has been seen to fail."""
    spoil(services["redis"])
    assert weaknesses(services) == {f"redis: {weakness}"}


def test_settings_named_in_the_file_exist(services: Services) -> None:
    """A misspelt NEWSBERT_ variable would be ignored silently."""
    assert unknown_settings(services) == set()


def test_a_misspelt_setting_is_noticed(services: Services) -> None:
    """The guard above can fail."""
    services["service-1"]["environment"]["NEWSBERT_STORES"] = "redis://redis"
    assert unknown_settings(services) == {"NEWSBERT_STORES"}


def test_the_settings_of_the_replicas_are_valid(services: Services) -> None:
    """The service would start with them, on Redis, reachable from the other containers."""
    given = services["service-2"]["environment"].items()
    values = {n.removeprefix("NEWSBERT_").lower(): v for n, v in given if n.startswith("NEWSBERT")}
    settings = Settings(**values)
    assert settings.store == "redis://redis:6379/0"
    assert settings.host == "0.0.0.0"


def test_redis_loses_no_acknowledged_write(services: Services) -> None:
    """Append-only, synced on every write, on a named volume, and never evicting."""
    command, redis = services["redis"]["command"], services["redis"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--appendfsync"] == "always"
    assert options["--maxmemory-policy"] == "noeviction"
    assert redis["volumes"] == ["redis:/data"]


def test_replicas_start_from_snapshots_on_one_named_volume(services: Services) -> None:
    """Where the image keeps them: a replica that is replaced goes on where the last one was."""
    image = (ROOT / "docker/service.Dockerfile").read_text("utf-8")
    (kept,) = re.findall(r"NEWSBERT_SNAPSHOTS=(\S+)", image)
    replicas = [service for name, service in services.items() if name.startswith("service-")]
    assert [replica["volumes"] for replica in replicas] == [["snapshots:/data"]] * 2
    assert kept.startswith("/data/")
    assert "NEWSBERT_SNAPSHOTS" not in replicas[0]["environment"]


def test_volumes_are_named_or_read_only_files_of_this_project(compose: dict[str, Any]) -> None:
    """Nothing of the host is writable, and every mounted file exists."""
    for service in compose["services"].values():
        for source, *rest in (v.split(":") for v in service.get("volumes", [])):
            if source.startswith("./"):
                assert rest[-1] == "ro"
                assert (ROOT / source).exists()
            else:
                assert source in compose["volumes"]


def test_only_the_balancer_and_the_dashboard_leave_the_private_network(
    compose: dict[str, Any],
) -> None:
    """Redis and the replicas publish no port and reach nothing outside."""
    assert compose["networks"]["inside"] == {"internal": True}
    outside = {n for n, s in compose["services"].items() if s["networks"] != ["inside"]}
    published = {n for n, s in compose["services"].items() if s.get("ports")}
    assert outside == published == {"nginx", "grafana"}


def test_a_replica_is_given_longer_to_stop_than_its_requests(services: Services) -> None:
    """Uvicorn waits 10 s for requests in flight; killing it earlier would break them."""
    assert services["service-1"]["stop_grace_period"] == "20s"


def test_the_monitoring_is_optional(services: Services) -> None:
    """Prometheus and Grafana start only under their profile; the rest always does."""
    profiles = {name: service.get("profiles", []) for name, service in services.items()}
    assert {n for n, p in profiles.items() if p == ["monitoring"]} == {"prometheus", "grafana"}
    assert not any(p for n, p in profiles.items() if n not in {"prometheus", "grafana"})


def test_prometheus_asks_every_replica(services: Services) -> None:
    """Metrics are per process, so each replica is a target of its own."""
    config = yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text("utf-8"))
    (job,) = config["scrape_configs"]
    replicas = {f"{name}:8000" for name in services if re.fullmatch(r"service-\d+", name)}
    assert set(job["static_configs"][0]["targets"]) == replicas


def test_the_dashboard_shows_metrics_that_exist() -> None:
    """Every metric of every panel is one of the service's, and every metric has a panel."""
    shown = dashboard_expressions()
    assert unknown_metrics(shown) == set()
    families = {family.name for family in Telemetry().registry.collect()}
    assert [name for name in sorted(families) if not any(name in e for e in shown)] == []


def test_a_metric_that_does_not_exist_is_noticed() -> None:
    """The guard above can fail: a counter's series ends in `_total`."""
    assert unknown_metrics(["rate(newsbert_requests_shed[1m])"]) == {"newsbert_requests_shed"}


def test_the_dashboard_asks_the_provisioned_source() -> None:
    """Panels name the data source by the uid that is provisioned."""
    file = ROOT / "docker/grafana/provisioning/datasources/prometheus.yml"
    (source,) = yaml.safe_load(file.read_text("utf-8"))["datasources"]
    assert {panel["datasource"]["uid"] for panel in dashboard()["panels"]} == {source["uid"]}


def test_each_panel_has_a_description_of_its_own() -> None:
    """Or none: one that stands twice is wrong in one place."""
    described = [panel["description"] for panel in dashboard()["panels"] if panel["description"]]
    assert [one for one, times in Counter(described).items() if times > 1] == []


def schema_check(file: Path) -> subprocess.CompletedProcess[str]:
    """Check a file against the compose specification that check-jsonschema brings along."""
    arguments = ["--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *arguments],
        check=False,
        capture_output=True,
        text=True,
    )


def dashboard() -> dict[str, Any]:
    """Read the dashboard."""
    file = ROOT / "docker/grafana/dashboards/newsbert.json"
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return found


def dashboard_expressions() -> list[str]:
    """Return the PromQL of every panel."""
    return [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
