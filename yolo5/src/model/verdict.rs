//! Whether our kernels run a model with `--backend auto`: one decision, of what was found out about them when it was loaded.

use super::RunError;

/// How much outputs of both backends may differ, of numbers up to 1 absolutely, and of greater ones in proportion.
const TOLERANCE: f32 = 1e-3;

/// Why tract runs a model.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// They would save little, and what goes to and fro between them and tract costs time.
    #[error("only {ours} of its {all} convolutions are in a form that our kernels know")]
    Little {
        /// Of so many that are ours.
        ours: usize,
        /// Of so many in all.
        all: usize,
    },
    /// Some output differs by so much.
    #[error("our kernels and tract disagree on it by {0}")]
    Apart(f32),
    /// They could not be tried.
    #[error("our kernels cannot: {}", .0.0)]
    Failed(RunError),
}

/// Decides. `ours` of `all` convolutions are ours; outputs are apart by so much.
pub fn verdict((ours, all): (usize, usize), apart: Result<f32, RunError>) -> Result<(), Reason> {
    match apart {
        Ok(_) if 2 * ours < all => Err(Reason::Little { ours, all }),
        Ok(apart) if apart <= TOLERANCE => Ok(()),
        Ok(apart) => Err(Reason::Apart(apart)),
        Err(why) => Err(Reason::Failed(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_kernels_run_what_is_mostly_theirs_and_right() {
        let told = |share, apart: Result<f32, &str>| {
            let apart = apart.map_err(|why| RunError(why.to_owned()));
            verdict(share, apart).map_err(|why| why.to_string()).err().unwrap_or_default()
        };
        for (share, apart, expected) in [
            ((60, 60), Ok(1e-5), ""),
            ((30, 60), Ok(1e-3), ""),
            ((29, 60), Ok(0.0), "only 29 of its 60 convolutions"),
            ((60, 60), Ok(2e-3), "our kernels and tract disagree on it by 0.002"),
            ((60, 60), Ok(f32::NAN), "our kernels and tract disagree on it by NaN"),
            ((60, 60), Err("no memory"), "our kernels cannot: no memory"),
        ] {
            let told = told(share, apart);
            assert!(told.starts_with(expected) && told.is_empty() == expected.is_empty(), "{told:?} {expected:?}");
        }
    }
}
