//! Keeping a grant's access token fresh: what is decided, and the task that does it.
//!
//! A *grant* is what a person or an operator gave once: a refresh token, or a client's own credentials. From it the
//! provider makes access tokens that live for minutes or hours.
//!
//! ```text
//!              Load                    Ask                     Save
//!   vault ───────────> machine ───────────────> provider ──> machine ───────────> vault
//!                         │  two thirds of its life passed,     │ the new token serves at once; the new
//!                         │  somebody waits, 401 from upstream  │ *refresh* token is not used before this is done
//!                         └── invalid_grant of every token there is: auth-failed until somebody connects anew
//! ```
//!
//! [`Machine`] decides, without input or output: time, chance and answers are arguments. [`GrantTask`] acts. Each grant
//! has a task of its own rather than all sharing one: a provider or vault that hangs holds up one grant and no other,
//! and an owner per machine needs no lock; a sleeping task costs some hundred bytes.
//!
//! Guarantees, each with a test:
//! - One request is under way for a grant, whoever asks; everybody who waits gets its result.
//! - A refresh token is not used before the vault has it, and the one before it is kept until it has worked. So a kill at
//!   any moment, a lost answer of the provider or of the vault cost one refresh, not the grant.
//! - A provider and a vault are asked by a grant at most eight times at once and once more for each 10 s, whatever they
//!   answer and whatever the clocks do.
//! - A 401 brings one refresh; a provider whose new tokens are refused as well is asked ever more rarely.
//!
//! Left to others: what is said to a provider (`oauth.rs`), and where grants are kept (a vault; [`KeptGrant`] is the way
//! there).

mod kept;
mod machine;
mod pace;
mod record;
mod task;
mod timeline;

pub use kept::{Beside, KeptGrant};
pub use machine::{Access, Action, Answer, Health, Input, Machine, Outcome, Strategy, Unavailable, View};
pub use pace::{Failure, FailureKind};
pub use record::{Proof, Record, StoredAccess, Tokens};
pub use task::{GrantHandle, GrantParts, GrantTask, GrantVault, Provider, Wall, grant};
pub use timeline::Moment;
