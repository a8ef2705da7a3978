//! What could fool the proof.

use super::*;
