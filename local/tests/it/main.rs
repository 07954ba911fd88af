//! The stand-ins as their users meet them.

mod telegram;
