//! Colours, sparingly: of phases, and of what is wrong.

use clap::builder::styling::{AnsiColor, Color, Style};
use dtma_client::types::{GroupState, PhaseWord};

/// Whether there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ink {
    pub(crate) on: bool,
    /// How many columns a table may have; no limit where nobody has to read it on a screen.
    pub(crate) width: Option<usize>,
}

/// What a word means for those who read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Good,
    Busy,
    Bad,
    Calm,
}

impl Ink {
    /// No colours.
    pub(crate) const OFF: Self = Self { on: false, width: None };

    pub(crate) fn bold(self, text: &str) -> String {
        self.with(Style::new().bold(), text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.with(Style::new().dimmed(), text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.paint(Mood::Bad, text)
    }

    pub(crate) fn paint(self, mood: Mood, text: &str) -> String {
        match mood {
            Mood::Good => self.with(colour(AnsiColor::Green), text),
            Mood::Busy => self.with(colour(AnsiColor::Yellow), text),
            Mood::Bad => self.with(colour(AnsiColor::Red).bold(), text),
            Mood::Calm => self.dim(text),
        }
    }

    /// A colour of its own for each of many.
    pub(crate) fn nth(self, index: usize, text: &str) -> String {
        const COLOURS: [AnsiColor; 6] = [
            AnsiColor::Cyan,
            AnsiColor::Yellow,
            AnsiColor::Green,
            AnsiColor::Magenta,
            AnsiColor::Blue,
            AnsiColor::Red,
        ];
        self.with(colour(COLOURS[index % COLOURS.len()]), text)
    }

    fn with(self, style: Style, text: &str) -> String {
        if self.on { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

fn colour(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(colour)))
}

impl From<PhaseWord> for Mood {
    fn from(phase: PhaseWord) -> Self {
        match phase {
            PhaseWord::OnDemand | PhaseWord::Ready => Self::Good,
            PhaseWord::Idle | PhaseWord::Completed | PhaseWord::Stopped => Self::Calm,
            PhaseWord::Creating
            | PhaseWord::Waiting
            | PhaseWord::Starting
            | PhaseWord::Updating
            | PhaseWord::Backoff
            | PhaseWord::Stopping
            | PhaseWord::Removing => Self::Busy,
            PhaseWord::Failed => Self::Bad,
        }
    }
}

impl From<GroupState> for Mood {
    fn from(state: GroupState) -> Self {
        match state {
            GroupState::Ready => Self::Good,
            GroupState::Deploying | GroupState::Updating | GroupState::Degraded | GroupState::Removing => {
                Self::Busy
            }
            GroupState::Failed => Self::Bad,
        }
    }
}
