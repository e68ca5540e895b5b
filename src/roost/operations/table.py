"""Every call of the API, in one place: those that work, and those that answer 501 until they are built."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from roost.operations import (
    agents,
    egress,
    environments,
    events,
    files,
    models,
    operator,
    resources,
    sessions,
    threads,
    work,
)
from roost.operations.resource import Endpoint, Resource, Verb, action
from roost.wire.agents import Agent, AgentCreate, AgentUpdate
from roost.wire.egress import EgressEntry
from roost.wire.environments import Environment, EnvironmentCreate, EnvironmentUpdate
from roost.wire.files import FileMetadata
from roost.wire.keys import Key, KeyCreate, NewKey, Owner
from roost.wire.pages import PageQuery
from roost.wire.resources import FileResource, FileResourceParams, ResourceUpdate
from roost.wire.sessions import EventsSend, Session, SessionCreate, SessionUpdate, Thread
from roost.wire.work import Heartbeat, HeartbeatQuery, PollQuery, Work, WorkQueueStats, WorkStop, WorkUpdate

MANAGED = "managed-agents"
MEMORY = "agent-memory"
DREAMING = "dreaming"
TUNNELS = "mcp-tunnels"
BETA_HEADERS = {
    MANAGED: "managed-agents-2026-04-01",
    MEMORY: "agent-memory-2026-07-22",
    DREAMING: "dreaming-2026-04-21",
    TUNNELS: "mcp-tunnels-2026-06-22",
}
"""Family of a beta -> the value that clients send (contract/http.md, Headers the client sends)."""

AGENT, ENVIRONMENT, SESSION = "/v1/agents/{agent_id}", "/v1/environments/{environment_id}", "/v1/sessions/{session_id}"
THREAD, WORK = f"{SESSION}/threads/{{thread_id}}", f"{ENVIRONMENT}/work"
VAULT, SKILL = "/v1/vaults/{vault_id}", "/v1/skills/{skill_id}"
STORE, DEPLOYMENT = "/v1/memory_stores/{memory_store_id}", "/v1/deployments/{deployment_id}"
PROFILE, TUNNEL = "/v1/user_profiles/{user_profile_id}", "/v1/tunnels/{tunnel_id}"

AGENTS: Sequence[Resource | Endpoint] = (
    Resource(
        name="agents",
        path="/v1/agents",
        id="agent_id",
        gate=MANAGED,
        model=Agent,
        creates_are_limited=True,
        built={
            "list": Verb(run=agents.list_, query=agents.AgentsQuery),
            "create": Verb(run=agents.create, body=AgentCreate),
            "retrieve": Verb(run=agents.retrieve, query=agents.AgentQuery),
            "update": Verb(run=agents.update, body=AgentUpdate),
            "archive": Verb(run=agents.archive),
        },
    ),
    action(
        "GET",
        f"{AGENT}/versions",
        "agents.versions.list",
        gate=MANAGED,
        run=agents.versions,
        query=PageQuery,
        reply=Agent,
        listed=True,
    ),
)

ENVIRONMENTS: Sequence[Resource | Endpoint] = (
    Resource(
        name="environments",
        path="/v1/environments",
        id="environment_id",
        gate=MANAGED,
        model=Environment,
        verbs="list create retrieve update delete archive",
        creates_are_limited=True,
        built={
            "list": Verb(run=environments.list_, query=environments.EnvironmentsQuery),
            "create": Verb(run=environments.create, body=EnvironmentCreate),
            "retrieve": Verb(run=environments.retrieve),
            "update": Verb(run=environments.update, body=EnvironmentUpdate),
            "delete": Verb(run=environments.delete, reply=dict),
            "archive": Verb(run=environments.archive),
        },
    ),
    action(
        "GET",
        f"{WORK}/poll",
        "environments.work.poll",
        gate=MANAGED,
        run=work.poll,
        query=PollQuery,
        reply=Work,
        rate=None,
    ),
    action("GET", f"{WORK}/stats", "environments.work.stats", gate=MANAGED, run=work.stats, reply=WorkQueueStats),
    Resource(
        name="environments.work",
        path=WORK,
        id="work_id",
        gate=MANAGED,
        model=Work,
        verbs="list retrieve update",
        built={
            "list": Verb(run=work.list_, query=PageQuery),
            "retrieve": Verb(run=work.retrieve),
            "update": Verb(run=work.update, body=WorkUpdate),
        },
    ),
    action("POST", f"{WORK}/{{work_id}}/ack", "environments.work.ack", gate=MANAGED, run=work.ack, reply=Work),
    action(
        "POST",
        f"{WORK}/{{work_id}}/heartbeat",
        "environments.work.heartbeat",
        gate=MANAGED,
        run=work.heartbeat,
        query=HeartbeatQuery,
        reply=Heartbeat,
    ),
    action(
        "POST",
        f"{WORK}/{{work_id}}/stop",
        "environments.work.stop",
        gate=MANAGED,
        run=work.stop,
        body=WorkStop,
        reply=Work,
    ),
)

SESSIONS: Sequence[Resource | Endpoint] = (
    Resource(
        name="sessions",
        path="/v1/sessions",
        id="session_id",
        gate=MANAGED,
        model=Session,
        verbs="list create retrieve update delete archive",
        creates_are_limited=True,
        built={
            "list": Verb(run=sessions.list_, query=sessions.SessionsQuery),
            "create": Verb(run=sessions.create, body=SessionCreate),
            "retrieve": Verb(run=sessions.retrieve),
            "update": Verb(run=sessions.update, body=SessionUpdate),
            "delete": Verb(run=sessions.delete, reply=dict),
            "archive": Verb(run=sessions.archive),
        },
    ),
    action(
        "GET",
        f"{SESSION}/events",
        "sessions.events.list",
        gate=MANAGED,
        run=events.list_,
        query=events.EventsQuery,
        reply=dict,
        listed=True,
    ),
    action(
        "POST", f"{SESSION}/events", "sessions.events.send", gate=MANAGED, run=events.send, body=EventsSend, reply=dict
    ),
    action(
        "GET",
        f"{SESSION}/events/stream",
        "sessions.events.stream",
        gate=MANAGED,
        run=events.stream,
        query=events.StreamQuery,
        reply="events",
    ),
    Resource(
        name="sessions.resources",
        path=f"{SESSION}/resources",
        id="resource_id",
        gate=MANAGED,
        model=FileResource,
        verbs="list retrieve update delete",
        built={
            "list": Verb(run=resources.list_, query=resources.ResourcesQuery),
            "retrieve": Verb(run=resources.retrieve),
            "update": Verb(run=resources.update, body=ResourceUpdate),
            "delete": Verb(run=resources.delete, reply=dict),
        },
    ),
    action(
        "POST",
        f"{SESSION}/resources",
        "sessions.resources.add",
        gate=MANAGED,
        run=resources.add,
        body=FileResourceParams,
        reply=FileResource,
    ),
    Resource(
        name="sessions.threads",
        path=f"{SESSION}/threads",
        id="thread_id",
        gate=MANAGED,
        model=Thread,
        verbs="list retrieve archive",
        built={
            "list": Verb(run=threads.list_, query=threads.ThreadsQuery),
            "retrieve": Verb(run=threads.retrieve),
            "archive": Verb(run=threads.archive),
        },
    ),
    action(
        "GET",
        f"{THREAD}/events",
        "sessions.threads.events.list",
        gate=MANAGED,
        run=threads.events,
        query=threads.ThreadEventsQuery,
        reply=dict,
        listed=True,
    ),
    action(
        "GET",
        f"{THREAD}/stream",
        "sessions.threads.events.stream",
        gate=MANAGED,
        run=threads.stream,
        query=events.StreamQuery,
        reply="events",
    ),
)

FILES: Sequence[Resource | Endpoint] = (
    Resource(
        name="files",
        path="/v1/files",
        id="file_id",
        model=FileMetadata,
        verbs="list delete",
        built={
            "list": Verb(run=files.list_, query=files.FilesQuery),
            "delete": Verb(run=files.delete, reply=dict),
        },
    ),
    action("POST", "/v1/files", "files.upload", run=files.upload, upload=True, reply=FileMetadata),
    action("GET", "/v1/files/{file_id}", "files.retrieve_metadata", run=files.retrieve, reply=FileMetadata),
    action("GET", "/v1/files/{file_id}/content", "files.download", run=files.download, reply=bytes),
)

MODELS: Sequence[Resource | Endpoint] = (
    Resource(
        name="models",
        path="/v1/models",
        id="model_id",
        model=dict,
        verbs="list retrieve",
        built={
            "list": Verb(run=models.list_, query=models.ModelsQuery),
            "retrieve": Verb(run=models.retrieve),
        },
    ),
)

VAULTS: Sequence[Resource | Endpoint] = (
    Resource(
        name="vaults",
        path="/v1/vaults",
        id="vault_id",
        gate=MANAGED,
        verbs="list create retrieve update delete archive",
    ),
    Resource(
        name="vaults.credentials",
        path=f"{VAULT}/credentials",
        id="credential_id",
        gate=MANAGED,
        verbs="list create retrieve update delete archive",
    ),
    action(
        "POST",
        f"{VAULT}/credentials/{{credential_id}}/mcp_oauth_validate",
        "vaults.credentials.mcp_oauth_validate",
        gate=MANAGED,
    ),
)

MEMORY_STORES: Sequence[Resource | Endpoint] = (
    Resource(
        name="memory_stores",
        path="/v1/memory_stores",
        id="memory_store_id",
        gate=MEMORY,
        verbs="list create retrieve update delete archive",
    ),
    Resource(
        name="memory_stores.memories",
        path=f"{STORE}/memories",
        id="memory_id",
        gate=MEMORY,
        verbs="list create retrieve update delete",
    ),
    Resource(
        name="memory_stores.memory_versions",
        path=f"{STORE}/memory_versions",
        id="memory_version_id",
        gate=MEMORY,
        verbs="list retrieve",
    ),
    action(
        "POST",
        f"{STORE}/memory_versions/{{memory_version_id}}/redact",
        "memory_stores.memory_versions.redact",
        gate=MEMORY,
    ),
)

SKILLS: Sequence[Resource | Endpoint] = (
    Resource(name="skills", path="/v1/skills", id="skill_id", verbs="list create retrieve delete"),
    Resource(name="skills.versions", path=f"{SKILL}/versions", id="version", verbs="list create retrieve delete"),
    action("GET", f"{SKILL}/versions/{{version}}/content", "skills.versions.download"),
)

DEPLOYMENTS: Sequence[Resource | Endpoint] = (
    Resource(name="deployments", path="/v1/deployments", id="deployment_id", gate=MANAGED),
    action("POST", f"{DEPLOYMENT}/pause", "deployments.pause", gate=MANAGED),
    action("POST", f"{DEPLOYMENT}/run", "deployments.run", gate=MANAGED),
    action("POST", f"{DEPLOYMENT}/unpause", "deployments.unpause", gate=MANAGED),
    Resource(
        name="deployment_runs",
        path="/v1/deployment_runs",
        id="deployment_run_id",
        gate=MANAGED,
        verbs="list retrieve",
    ),
)

PREVIEWS: Sequence[Resource | Endpoint] = (
    Resource(name="dreams", path="/v1/dreams", id="dream_id", gate=DREAMING, verbs="list create retrieve archive"),
    action("POST", "/v1/dreams/{dream_id}/cancel", "dreams.cancel", gate=DREAMING),
    Resource(
        name="user_profiles",
        path="/v1/user_profiles",
        id="user_profile_id",
        verbs="list create retrieve update delete",
    ),
    action("POST", f"{PROFILE}/action_urls", "user_profiles.action_urls.create"),
    action("POST", f"{PROFILE}/enrollment_url", "user_profiles.create_enrollment_url"),
    Resource(name="tunnels", path="/v1/tunnels", id="tunnel_id", gate=TUNNELS, verbs="list create retrieve archive"),
    Resource(
        name="tunnels.certificates",
        path=f"{TUNNEL}/certificates",
        id="certificate_id",
        gate=TUNNELS,
        verbs="list create retrieve archive",
    ),
    action("POST", f"{TUNNEL}/reveal_token", "tunnels.reveal_token", gate=TUNNELS),
    action("POST", f"{TUNNEL}/rotate_token", "tunnels.rotate_token", gate=TUNNELS),
)


def _rows(entries: Iterable[Resource | Endpoint]) -> list[Endpoint]:
    return [row for entry in entries for row in (entry.endpoints() if isinstance(entry, Resource) else (entry,))]


TABLE: Sequence[Endpoint] = _rows(
    (
        *AGENTS,
        *ENVIRONMENTS,
        *SESSIONS,
        *FILES,
        *MODELS,
        *VAULTS,
        *MEMORY_STORES,
        *SKILLS,
        *DEPLOYMENTS,
        *PREVIEWS,
    )
)
"""The API: 114 endpoints. Literal paths stand before those with an id in the same place."""

USER_TABLE: Sequence[Endpoint] = (
    Endpoint(
        method="GET",
        path="/roost/v1/sessions/{session_id}/egress",
        name="sessions.egress.list",
        run=egress.list_,
        query=egress.EgressQuery,
        reply=EgressEntry,
        listed=True,
        rate="read",
    ),
)
"""Roost's own calls for the holder of a workspace's key."""

OPERATOR_TABLE: Sequence[Endpoint] = (
    Endpoint(method="GET", path="/roost/v1/health", name="health", run=operator.health, reply=dict),
    Endpoint(method="GET", path="/roost/v1/doctor", name="doctor", run=operator.doctor, reply=dict),
    Endpoint(
        method="GET",
        path="/roost/v1/owners",
        name="owners.list",
        run=operator.owners,
        query=operator.OwnersQuery,
        reply=Owner,
        listed=True,
    ),
    Endpoint(
        method="GET",
        path="/roost/v1/keys",
        name="keys.list",
        run=operator.keys_list,
        query=operator.WorkspaceQuery,
        reply=Key,
        listed=True,
    ),
    Endpoint(
        method="POST",
        path="/roost/v1/keys",
        name="keys.create",
        run=operator.keys_create,
        body=KeyCreate,
        reply=NewKey,
    ),
    Endpoint(
        method="DELETE",
        path="/roost/v1/keys/{key_id}",
        name="keys.revoke",
        run=operator.keys_revoke,
        query=operator.WorkspaceQuery,
        reply=Key,
    ),
)
"""Roost's own calls, for the holder of the admin key; `health` needs none."""
