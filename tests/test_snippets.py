"""Every block of the documentation, and every file of deploy/, has a test that runs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tests import test_actions_documentation as actions
from tests import test_alerts as alerts
from tests import test_check_config as check_config
from tests import test_containers as containers
from tests import test_demo as demo
from tests import test_demo_fleet as demo_fleet
from tests import test_deploy as deploy
from tests import test_documentation as readme
from tests import test_fronts as fronts
from tests import test_ledger as ledger
from tests import test_maintenance as maintenance
from tests import test_manifests as manifests
from tests import test_manual as manual
from tests import test_operations as operations
from tests import test_packaging as packaging
from tests import test_postgresql_ledger as postgresql_ledger
from tests import test_rest_documentation as rest
from tests import test_security_documentation as security
from tests import test_shards as shards
from tests import test_sources_documentation as sources
from tests import test_terminal_documentation as terminal
from tests import test_watch_documentation as watch
from tests.client import test_client_documentation as client
from tests.gateway import test_cross_origin as cross_origin
from tests.gateway import test_generated_clients as generated
from tests.gateway import test_several_cores as several_cores
from tests.release import test_deb as deb
from tests.release import test_four_ways as four_ways
from tests.release import test_from_0_1 as from_0_1
from tests.release import test_image as image
from tests.release import test_reproducible as reproducible
from tests.snippets import ROOT, snippets

Test = Callable[..., None]

# The blocks that a test runs, each by its document, the headings above it and its language.
# A text in place of a test says why there is none.
RUNNERS: dict[Test | str, list[str]] = {
    "a drawing": [
        "ARCHITECTURE.md: : ",
    ],
    four_ways.test_make_shows_that_machine_s_sessions: [
        "docs/installation.md: From the source: sh",
    ],
    four_ways.test_pip_shows_that_machine_s_sessions: [
        "docs/installation.md: With pip: sh",
    ],
    deb.test_it_serves_that_machine_s_sessions: [
        "docs/installation.md: On Debian: sh",
    ],
    deb.test_an_upgrade_keeps_every_id: [
        "docs/installation.md: On Debian: sh",
    ],
    from_0_1.test_every_id_is_kept: [
        "docs/installation.md: On Debian: sh",
    ],
    image.test_it_shows_that_machine_s_sessions: [
        "docs/installation.md: As a container: sh",
    ],
    reproducible.test_built_twice_it_has_the_same_bytes: [
        "docs/releasing.md: : sh",
    ],
    actions.test_an_operator_ends_a_session_and_cancels_statements: [
        "docs/actions.md: Allow it: toml",
        "docs/actions.md: Allow it: sql",
        "docs/actions.md: Allow it: sh",
        "docs/actions.md: At a terminal: sh",
    ],
    actions.test_the_lines_for_mariadb_let_it_act: [
        "docs/actions.md: Allow it: sql",
    ],
    readme.test_a_contributor_s_first_commands_work: [
        "CONTRIBUTING.md: Set up: sh",
    ],
    shards.test_the_documented_core_has_its_name_and_its_sources_for_itself: [
        "docs/fleet.md: Shards: toml",
    ],
    fronts.test_the_documented_front_tells_who_is_in_the_fleet: [
        "docs/fleet.md: Fronts: toml",
        "docs/fleet.md: Who is in the fleet: sh",
    ],
    readme.test_make_knows_what_to_do: [
        "README.md: Three commands: sh",
    ],
    demo.test_it_prints_what_the_readme_shows: [
        "README.md: The demonstration: console",
        "README.md: The demonstration: console",
        "README.md: The demonstration: console",
    ],
    demo_fleet.test_another_core_takes_over_with_the_same_ids: [
        "docs/fleet.md: See one: console",
    ],
    readme.test_each_command_prints_what_stands_below_it: [
        "README.md: A request and its answer: sh",
        "README.md: A request and its answer: console",
        "README.md: From a microservice: console",
    ],
    terminal.test_the_readme_s_questions_have_answers: [
        "README.md: What sessions are doing: sh",
    ],
    readme.test_the_client_in_python_works_as_it_stands: [
        "README.md: From a microservice: python",
    ],
    client.test_the_first_program_lists_gets_and_finds_nothing: [
        "docs/client.md: : python",
    ],
    client.test_the_third_program_looks_back: [
        "docs/client.md: Past sessions: python",
    ],
    client.test_the_program_for_several_cores_finds_one: [
        "docs/client.md: Several cores: python",
    ],
    several_cores.test_the_first_core_may_be_away: [
        "docs/operations.md: Several cores: toml",
    ],
    client.test_the_second_program_follows: [
        "docs/client.md: Follow the sessions: python",
    ],
    readme.test_each_kind_of_source_is_shown_as_it_is_configured: [
        "README.md: Sources / MaxScale: toml",
        "README.md: Sources / PgBouncer: toml",
        "README.md: Sources / PostgreSQL: toml",
        "README.md: Sources / MariaDB and MySQL: toml",
        "README.md: Sources / HAProxy: toml",
    ],
    sources.test_the_readme_shows_lines_of_this_page: [
        "README.md: Sources / PgBouncer: ini",
        "README.md: Sources / PostgreSQL: sql",
        "README.md: Sources / MariaDB and MySQL: sql",
        "README.md: Sources / HAProxy: haproxy",
    ],
    readme.test_the_configuration_file_is_taken_as_it_stands: [
        "README.md: Settings: toml",
    ],
    containers.test_the_programs_of_the_compose_file_serve: [
        "docs/containers.md: With Compose: sh",
    ],
    "Docker is not here: tests/test_containers.py runs the programs that it would start": [
        "docs/containers.md: With Compose: sh",
    ],
    containers.test_the_pods_of_the_manifests_serve: [
        "docs/containers.md: In Kubernetes: sh",
        "docs/containers.md: In Kubernetes: sh",
    ],
    containers.test_the_fleet_of_the_manifests_serves: [
        "docs/containers.md: A fleet in Kubernetes: sh",
        "docs/containers.md: A fleet in Kubernetes: sh",
        "docs/containers.md: A fleet in Kubernetes: yaml",
    ],
    maintenance.test_an_upgrade_and_the_way_back_keep_ids: [
        "docs/maintenance.md: Upgrade: sh",
        "docs/maintenance.md: Upgrade: sh",
        "docs/maintenance.md: Go back: sh",
        "docs/maintenance.md: Backup and restore: sh",
    ],
    maintenance.test_nothing_is_left_of_an_installation: [
        "docs/maintenance.md: Uninstall: sh",
    ],
    packaging.test_the_documented_installation_runs_it: [
        "docs/operations.md: Installing it as a service: sh",
    ],
    packaging.test_the_documented_plugin_is_installed_and_read: [
        "docs/plugins.md: An example: Redis: toml",
        "docs/plugins.md: An example: Redis: python",
        "docs/plugins.md: An example: Redis: sh",
    ],
    ledger.test_sources_that_exchange_names_are_told_apart: [
        "docs/operations.md: The ledger's file: sh",
    ],
    ledger.test_a_ledger_that_is_put_back_keeps_ids_and_gives_none_twice: [
        "docs/operations.md: The ledger's file: sh",
        "docs/operations.md: The ledger's file: sh",
    ],
    postgresql_ledger.test_the_documented_ledger_keeps_ids_while_its_server_fails: [
        "docs/ledger.md: Setting it up: sql",
        "docs/ledger.md: Setting it up: toml",
        "docs/ledger.md: Setting it up: sql",
        "docs/maintenance.md: Uninstall: sql",
    ],
    postgresql_ledger.test_a_file_is_copied_there_with_all_that_it_knows: [
        "docs/ledger.md: Moving a file there: sh",
    ],
    postgresql_ledger.test_a_dump_that_was_restored_gives_no_id_again: [
        "docs/ledger.md: Backup and restore: sh",
    ],
    check_config.test_the_documented_command_checks: [
        "docs/operations.md: Before it starts: sh",
    ],
    operations.test_prometheus_takes_the_documented_targets: [
        "docs/operations.md: Metrics: yaml",
    ],
    rest.test_each_command_prints_what_stands_below_it: [
        "docs/rest.md: Resources: console",
        "docs/rest.md: Ids: console",
        "docs/rest.md: Counts: console",
        "docs/rest.md: The past: console",
        "docs/rest.md: The past / How many were connected: console",
        "docs/rest.md: Parameters: console",
        "docs/rest.md: Parameters: console",
        "docs/rest.md: Parameters: console",
        "docs/rest.md: Parameters: console",
        "docs/rest.md: Parameters: console",
        "docs/rest.md: Asking again: console",
        "docs/rest.md: Errors: console",
    ],
    rest.test_what_acts_does_as_it_stands: [
        "docs/rest.md: Ending sessions: sh",
        "docs/rest.md: Ending sessions: sh",
    ],
    "tests/gateway/test_generated_clients.py runs both, in pinned versions": [
        "docs/rest.md: Generated clients: sh",
    ],
    generated.test_the_documented_program_prints_every_session: [
        "docs/rest.md: Generated clients: python",
    ],
    security.test_what_is_asked_is_answered_so: [
        "docs/security.md: In ten minutes: sh",
        "docs/security.md: In ten minutes: sh",
        "docs/security.md: In ten minutes: sh",
        "docs/security.md: In ten minutes: sh",
        "docs/security.md: In ten minutes: sh",
        "docs/security.md: In ten minutes: console",
        "docs/security.md: In ten minutes: console",
    ],
    security.test_the_client_in_python_works_as_it_stands: [
        "docs/security.md: In ten minutes: python",
    ],
    cross_origin.test_a_named_origin_may_read_all_responses: [
        "docs/security.md: Pages of other origins: toml",
    ],
    security.test_gateway_and_core_on_different_machines: [
        "docs/security.md: A gateway and its core on different machines: sh",
        "docs/security.md: A gateway and its core on different machines: sh",
        "docs/security.md: A gateway and its core on different machines: sh",
    ],
    sources.test_the_lines_for_postgresql_let_it_in: [
        "docs/sources.md: PostgreSQL / Lines to paste: sql",
        "docs/sources.md: PostgreSQL / Lines to paste: pg_hba",
        "docs/sources.md: PostgreSQL / Lines to paste: toml",
    ],
    sources.test_the_lines_for_pgbouncer_let_it_in: [
        "docs/sources.md: PgBouncer / Lines to paste: ini",
        "docs/sources.md: PgBouncer / Lines to paste: toml",
    ],
    sources.test_the_lines_for_mariadb_let_it_in: [
        "docs/sources.md: MariaDB and MySQL / Lines to paste: sql",
        "docs/sources.md: MariaDB and MySQL / Lines to paste: sql",
        "docs/sources.md: MariaDB and MySQL / Lines to paste: toml",
    ],
    sources.test_who_is_in_the_group_reads_from_haproxy_s_socket: [
        "docs/sources.md: HAProxy / Lines to paste: sh",
        "docs/sources.md: HAProxy / Lines to paste: haproxy",
        "docs/sources.md: HAProxy / Lines to paste: toml",
    ],
    deploy.test_the_unit_takes_the_documented_lines_for_haproxy: [
        "docs/sources.md: HAProxy / Lines to paste: ini",
    ],
    sources.test_haproxy_s_socket_on_loopback_is_read: [
        "docs/sources.md: HAProxy / Lines to paste: haproxy",
    ],
    "maxctrl comes with MaxScale, which neither Debian nor npm has": [
        "docs/sources.md: MaxScale / Lines to paste: sh",
    ],
    sources.test_the_lines_for_maxscale_are_its_own: [
        "docs/sources.md: MaxScale / Lines to paste: ini",
    ],
    sources.test_the_source_for_maxscale_reads_it: [
        "docs/sources.md: MaxScale / Lines to paste: toml",
    ],
    sources.test_the_synthetic_source_is_served: [
        "docs/sources.md: Synthetic: sh",
    ],
    terminal.test_the_past_is_as_it_stands: [
        "docs/terminal.md: Who was connected: console",
    ],
    manual.test_the_documented_lines_write_the_pages_and_show_one: [
        "docs/terminal.md: The manual: sh",
    ],
    watch.test_the_stream_is_as_it_stands: [
        "docs/watch.md: Over HTTP: server-sent events: console",
    ],
    watch.test_the_page_in_a_browser_follows_the_sessions: [
        "docs/watch.md: Over HTTP: server-sent events: js",
    ],
    watch.test_the_client_in_python_works_as_it_stands: [
        "docs/watch.md: Over gRPC: WatchSessions: python",
    ],
    watch.test_the_lines_of_a_pipe_are_as_they_stand: [
        "docs/watch.md: At a terminal: console",
    ],
}
# The same for the files in deploy/.
DEPLOYED: dict[str, list[Test]] = {
    "compose": [
        manifests.test_the_compose_file_follows_its_schema,
        containers.test_the_programs_of_the_compose_file_serve,
    ],
    "grafana-dashboard.json": [operations.test_every_query_finds_its_series],
    "kubernetes": [
        manifests.test_the_manifests_follow_their_schemas,
        containers.test_the_pods_of_the_manifests_serve,
    ],
    "prometheus-alerts.yaml": [
        alerts.test_each_alert_fires_when_it_should_and_else_does_not,
        operations.test_every_query_finds_its_series,
    ],
    "sessiongate.service": [deploy.test_the_unit_is_valid, deploy.test_the_unit_is_a_sandbox],
}


def test_each_block_is_run_by_a_test() -> None:
    """If a block is new, write a test that runs it, and add it to `RUNNERS`."""
    there = Counter(
        f"{snippet.document}: {' / '.join(snippet.headings)}: {snippet.language}"
        for snippet in snippets()
    )
    assert there == Counter(block for blocks in RUNNERS.values() for block in blocks)


def test_each_file_to_deploy_is_read_by_a_test() -> None:
    assert sorted(path.name for path in (ROOT / "deploy").iterdir()) == sorted(DEPLOYED)
