//! The stable ids of the rules, as they appear in answers. A test demands a case for each.

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $id:literal;)+) => {
        $($(#[$doc])* pub const $name: &str = $id;)+
        /// Every rule a group can break.
        pub const ALL: &[&str] = &[$($id),+];
    };
}

rules! {
    /// A group has at least one server.
    GROUP_EMPTY = "group.empty";
    /// A group has at most so many servers.
    GROUP_TOO_LARGE = "group.too-large";
    /// How many servers start at once is at least one and bounded.
    GROUP_CONCURRENCY = "group.concurrency";
    /// Whatever is said of the group as one server is about a server of it.
    GATEWAY_SERVER = "gateway.server";
    /// Something is part of it.
    GATEWAY_EMPTY = "gateway.empty";
    /// A tool is called what clients take for a name.
    GATEWAY_NAME = "gateway.name";
    /// No two tools are called the same.
    GATEWAY_CONFLICT = "gateway.conflict";
    /// Names are unique.
    GRAPH_DUPLICATE = "graph.duplicate";
    /// A dependency is on a server of the group.
    GRAPH_UNKNOWN = "graph.unknown";
    /// Nobody waits for itself, however long the way round.
    GRAPH_CYCLE = "graph.cycle";
    /// A dependency is named once.
    GRAPH_REPEATED = "graph.repeated";
    /// The template exists.
    TEMPLATE_UNKNOWN = "template.unknown";
    /// The image is a reference an engine understands.
    IMAGE_SYNTAX = "image.syntax";
    /// A command has a program.
    COMMAND_EMPTY = "command.empty";
    /// Arguments can be passed to a process.
    COMMAND_SYNTAX = "command.syntax";
    /// A variable's name is one.
    ENVIRONMENT_NAME = "environment.name";
    /// A variable's value can be passed to a process.
    ENVIRONMENT_VALUE = "environment.value";
    /// What the daemon tells a server about itself is not contradicted.
    ENVIRONMENT_RESERVED = "environment.reserved";
    /// There is an end to it.
    ENVIRONMENT_TOO_LARGE = "environment.too-large";
    /// A label's key and value are printable and short.
    LABELS_SYNTAX = "labels.syntax";
    /// The daemon's own labels are its own.
    LABELS_RESERVED = "labels.reserved";
    /// There is an end to it.
    LABELS_TOO_LARGE = "labels.too-large";
    /// A limit a server can live within.
    RESOURCES_TOO_SMALL = "resources.too-small";
    /// The operator's ceiling holds.
    POLICY_CEILING = "policy.ceiling";
    /// The operator's lowest host port holds.
    POLICY_HOST_PORT = "policy.host-port";
    /// The operator's word on hosts outside holds.
    POLICY_EGRESS = "policy.egress";
    /// The operator's word on addresses holds.
    POLICY_EGRESS_RANGE = "policy.egress-range";
    /// No path of the host is mounted.
    POLICY_BIND = "policy.bind";
    /// A port is a number from 1.
    PORT_ZERO = "port.zero";
    /// A stdio server is ready when it answers, not when a port does.
    PORT_STDIO = "port.stdio";
    /// A server that is spoken to over a port names it.
    PORT_MISSING = "port.missing";
    /// Only what is spoken to over a port is found at a path.
    ENDPOINT_UNUSED = "endpoint.unused";
    /// A path is one.
    ENDPOINT_SYNTAX = "endpoint.syntax";
    /// A port needs a network to be reached over.
    PORT_NETWORK = "port.network";
    /// Inside, too, a port is one thing.
    PORT_INSIDE = "port.inside";
    /// The way out is the shim's.
    EGRESS_SHIM = "egress.shim";
    /// What goes out past the daemon cannot be bounded by it.
    EGRESS_NETWORK = "egress.network";
    /// A host is named once.
    EGRESS_REPEATED = "egress.repeated";
    /// There is an end to it.
    EGRESS_TOO_MANY = "egress.too-many";
    /// The way to a dependency is the shims'.
    CONNECT_SHIM = "connect.shim";
    /// What has ended cannot be connected to.
    CONNECT_COMPLETED = "connect.completed";
    /// Each dependency has a variable of its own.
    CONNECT_NAME = "connect.name";
    /// A host port is forwarded to one place.
    PUBLISH_DUPLICATE = "publish.duplicate";
    /// A group without a network has none to join.
    NETWORK_NOT_SHARED = "network.not-shared";
    /// A group's network has places for all who join it.
    NETWORK_FULL = "network.full";
    /// On another machine's engine nothing needs the daemon to be beside it.
    ENGINE_REMOTE = "engine.remote";
    /// A daemon without a shim begins no server by one.
    SHIM_NONE = "shim.none";
    /// The shim is made for the platform of the daemon's machine.
    SHIM_PLATFORM = "shim.platform";
    /// A mount's target is an absolute path without detours.
    MOUNTS_TARGET = "mounts.target";
    /// Some targets are the container's own.
    MOUNTS_RESERVED = "mounts.reserved";
    /// One mount for each target.
    MOUNTS_DUPLICATE = "mounts.duplicate";
    /// Memory that can be written, or nothing.
    MOUNTS_READ_ONLY_TMPFS = "mounts.read-only-tmpfs";
    /// There is an end to it.
    MOUNTS_TOO_MANY = "mounts.too-many";
    /// Restarts are bounded.
    RESTART_ATTEMPTS = "restart.attempts";
    /// A server has at least one replica, or processes of sessions, and not more than a machine can bear.
    REPLICAS_RANGE = "replicas.range";
    /// Only clients of MCP servers have sessions.
    SESSION_KIND = "session.kind";
    /// What is said of processes of sessions is said where there are some.
    SESSION_SHARED = "session.shared";
    /// A machine bears so many containers.
    SESSION_RANGE = "session.range";
    /// More are not kept ready than can be handed out.
    SESSION_SPARES = "session.spares";
    /// A process that ends with its session is not put to rest.
    SESSION_IDLE = "session.idle";
    /// What runs for sessions only serves nobody else.
    SESSION_ONLY = "session.only";
    /// What runs once runs once.
    REPLICAS_ONCE = "replicas.once";
    /// Only of an MCP server the daemon knows when it is needed.
    IDLE_KIND = "idle.kind";
    /// Rest grows deeper with time.
    IDLE_ORDER = "idle.order";
    /// What others need does not rest.
    IDLE_NEEDED = "idle.needed";
    /// Of connections to a published port nobody knows whether they are needed.
    IDLE_PUBLISHED = "idle.published";
    /// The delay's ceiling is not below the delay.
    RESTART_DELAY_ORDER = "restart.delay-order";
    /// A time within reason.
    DURATION_RANGE = "duration.range";
    /// A server can become ready before its time is up.
    HEALTH_UNREACHABLE = "health.unreachable";
    /// Never privileged.
    NEVER_PRIVILEGED = "never.privileged";
    /// Never in a namespace of the host.
    NEVER_HOST_NAMESPACE = "never.host-namespace";
    /// Never in another container's namespace.
    NEVER_FOREIGN_NAMESPACE = "never.foreign-namespace";
    /// Never on a network that is not the group's own.
    NEVER_FOREIGN_NETWORK = "never.foreign-network-namespace";
    /// Never an engine's socket.
    NEVER_ENGINE_SOCKET = "never.engine-socket";
    /// Never a device.
    NEVER_DEVICE = "never.device";
    /// Never without seccomp, AppArmor or SELinux.
    NEVER_UNCONFINED = "never.unconfined";
    /// Never a change to the masked and read-only paths of `/proc` and `/sys`.
    NEVER_MASKED_PATHS = "never.masked-paths";
    /// Never a capability that reaches out of the container.
    NEVER_CAPABILITY = "never.capability";
    /// Never a volume whose driver could turn it into a path of the host.
    NEVER_VOLUME_OPTIONS = "never.volume-options";
    /// Never a kernel setting.
    NEVER_SYSCTL = "never.sysctl";
    /// Never another container's volumes.
    NEVER_VOLUMES_FROM = "never.volumes-from";
    /// Overrides are made of a few known fields.
    OVERRIDE_UNSUPPORTED = "override.unsupported";
    /// A known field has a value of its type.
    OVERRIDE_TYPE = "override.type";
    /// Overrides tighten.
    OVERRIDE_LOOSENS = "override.loosens";
    /// A field is written once, whatever its spelling.
    OVERRIDE_DUPLICATE = "override.duplicate-key";
}

/// Allowed, and probably not meant: the image's tag can move.
pub const WARN_IMAGE_UNPINNED: &str = "image.unpinned";
/// Allowed, and probably not meant: a secret in plain environment.
pub const WARN_ENVIRONMENT_SECRET: &str = "environment.secret";
/// Allowed, and probably not meant: a stdio server that can reach services of the host.
pub const WARN_NETWORK_HOST: &str = "network.host-reachable";
/// Allowed, and probably not meant: a server that can reach whatever this machine reaches.
pub const WARN_NETWORK_OPEN: &str = "network.open";
/// Allowed, and probably not meant: a dependency that cannot be connected to.
pub const WARN_NO_WAY: &str = "connect.no-way";
/// Allowed, and probably not meant: more memory disk than memory.
pub const WARN_TMPFS_OVER_MEMORY: &str = "resources.tmpfs-over-memory";
/// Allowed, and probably not meant: sessions that are to be apart share a volume.
pub const WARN_SESSION_VOLUME: &str = "session.volume";
/// Allowed, and probably not meant: waiting for the end of a server that ends only when told to.
pub const WARN_NEVER_COMPLETES: &str = "graph.never-completes";
