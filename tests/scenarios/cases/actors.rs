//! The processes of a flow, which come and go.

use std::{
    os::unix::process::ExitStatusExt,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rand::{Rng, rngs::StdRng};
use rustix::process::Signal;

use super::super::strait::Strait;

/// One of them.
pub struct Actor {
    pub name: &'static str,
    pub strait: Strait,
    /// When it goes on, if it is down or suspended.
    back: Option<(Instant, Back)>,
}

#[derive(Clone, Copy)]
enum Back {
    Started,
    Continued,
}

/// What happens to one.
#[derive(Clone, Copy)]
pub enum Blow {
    Kill,
    Suspend,
    Terminate,
}

impl Blow {
    /// Any of them.
    pub fn any(random: &mut StdRng) -> Self {
        [Self::Kill, Self::Suspend, Self::Terminate][random.random_range(0..3)]
    }
}

impl Actor {
    /// Starts it.
    pub fn start(name: &'static str, mut strait: Strait) -> Result<Self> {
        strait.run()?;
        Ok(Self {
            name,
            strait,
            back: None,
        })
    }

    /// Whether it is neither down nor suspended.
    pub fn is_up(&self) -> bool {
        self.back.is_none()
    }

    /// Takes it out until the pause is over; says what that was.
    pub fn suffer(&mut self, blow: Blow, pause: Duration) -> Result<&'static str> {
        let back = Instant::now() + pause;
        Ok(match blow {
            Blow::Kill => {
                self.strait.kill()?;
                self.back = Some((back, Back::Started));
                "kill -9"
            }
            Blow::Suspend => {
                self.strait.signal(Signal::STOP)?;
                self.back = Some((back, Back::Continued));
                "suspended"
            }
            Blow::Terminate => {
                let status = self.strait.terminate()?;
                // One that has only just been started does not listen to signals yet, and has done nothing.
                let early = status.signal() == Some(Signal::TERM.as_raw());
                ensure!(
                    status.success() || early,
                    "{status}:\n{}",
                    self.strait.log()
                );
                self.back = Some((back, Back::Started));
                "clean stops"
            }
        })
    }

    /// Lets it go on if that was to be before `by`, and wants it to run if it is up.
    pub fn go_on(&mut self, by: Instant) -> Result<()> {
        match self.back.take_if(|(at, _)| *at <= by) {
            Some((_, Back::Started)) => self.strait.run()?,
            Some((_, Back::Continued)) => self.strait.signal(Signal::CONT)?,
            None => {}
        }
        ensure!(
            self.back.is_some() || self.strait.is_running()?,
            "it ended:\n{}",
            self.strait.log()
        );
        Ok(())
    }
}
