//! The streaming replication protocol: commands before the stream, then the stream.
//!
//! Source: PostgreSQL manual, "Streaming Replication Protocol" and "Logical Streaming Replication
//! Parameters".

mod answer;
mod message;
mod stream;

use self::answer::Answer;
pub use self::answer::TimelineSwitch;
pub use self::message::{FrameLength, ReplicationMessage, StatusUpdate};
pub use self::stream::ReplicationStream;
use super::connect::connect;
use super::connection::{COMMAND_TIMEOUT, Connection, Purpose, unexpected};
use super::error::Error;
use super::identifier::{check_slot_name, quote_identifier, quote_publications};
use super::options::ConnectOptions;
use crate::lsn::Lsn;

/// The first timeline; it has no history.
const FIRST_TIMELINE: u32 = 1;

/// A walsender that waits for a command.
///
/// Its methods are not cancel safe: after a call that was cancelled, the next one is refused and
/// the connection is of no more use.
#[derive(Debug)]
pub struct ReplicationConnection {
    connection: Connection,
}

/// What `IDENTIFY_SYSTEM` says.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SystemIdentity {
    /// Identifier of the database cluster, made by `initdb` and the same on all its standbys.
    pub system_id: u64,
    /// The timeline the server is on.
    pub timeline: u32,
    /// How far its log has been flushed.
    pub xlogpos: Lsn,
    /// The database connected to.
    pub database: String,
}

/// What `CREATE_REPLICATION_SLOT` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedSlot {
    /// Transactions that commit after here are in the stream; those before are in the snapshot.
    pub consistent_point: Lsn,
    /// Name for `SET TRANSACTION SNAPSHOT` on another connection. It is valid until the next
    /// command on this one, or its end.
    pub snapshot_name: Option<String>,
}

impl ReplicationConnection {
    /// Connects to the first host that takes the session and is of the wanted kind.
    ///
    /// # Errors
    ///
    /// No host does; see [`Error::kind`].
    pub async fn connect(options: &ConnectOptions) -> Result<Self, Error> {
        let mut connection = connect(options, Purpose::Replication).await?;
        // This one is unknown before 17, so it cannot be among the startup options. The decoding
        // of one large transaction is one transaction to the server.
        if connection.parameters.version_num() >= 170_000 {
            connection
                .quick_command("SET transaction_timeout = 0", "switch transaction_timeout off")
                .await?;
        }
        Ok(Self { connection })
    }

    /// The server's version as `server_version_num` has it: 150018 for 15.18.
    #[must_use]
    pub fn server_version_num(&self) -> u32 {
        self.connection.parameters.version_num()
    }

    /// Process id of the walsender: `active_pid` of the slot that it holds.
    #[must_use]
    pub fn backend_pid(&self) -> i32 {
        self.connection.backend_pid()
    }

    /// End of the validity of the server's certificate, in seconds since 1970, on an encrypted
    /// connection.
    #[must_use]
    pub fn certificate_not_after(&self) -> Option<i64> {
        self.connection.stream.peer_certificate().and_then(|peer| peer.not_after)
    }

    /// Asks which cluster this is.
    ///
    /// # Errors
    ///
    /// The connection or the command fails.
    pub async fn identify_system(&mut self) -> Result<SystemIdentity, Error> {
        let rows = self.connection.quick_command("IDENTIFY_SYSTEM", "identify system").await?;
        let answer = Answer::one("IDENTIFY_SYSTEM", rows)?;
        Ok(SystemIdentity {
            system_id: answer.parse(0)?,
            timeline: answer.parse(1)?,
            xlogpos: answer.parse(2)?,
            database: answer.text(3)?.to_owned(),
        })
    }

    /// The timelines that a timeline descends from, oldest first, and where each was left.
    ///
    /// # Errors
    ///
    /// The connection or the command fails; 58P01 (`undefined_file`) when the server has never
    /// heard of the timeline.
    pub async fn timeline_history(&mut self, timeline: u32) -> Result<Vec<TimelineSwitch>, Error> {
        if timeline <= FIRST_TIMELINE {
            return Ok(Vec::new());
        }
        let command = format!("TIMELINE_HISTORY {timeline}");
        let rows = self.connection.quick_command(&command, "read timeline history").await?;
        let answer = Answer::one("TIMELINE_HISTORY", rows)?;
        answer::parse_timeline_history(answer.bytes(1)?)
    }

    /// The value of a server setting, in the form of `SHOW`, with a unit where it has one.
    ///
    /// # Errors
    ///
    /// The connection or the command fails; 42704 (`undefined_object`) when the server does not
    /// know the setting.
    pub async fn show(&mut self, name: &str) -> Result<String, Error> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
        if name.is_empty() || !name.bytes().all(allowed) {
            return Err(Error::configuration(format!("{name:?} cannot be the name of a setting")));
        }
        let rows = self.connection.quick_command(&format!("SHOW {name}"), "show setting").await?;
        Answer::one("SHOW", rows)?.text(0).map(str::to_owned)
    }

    /// Creates a logical slot with the plug-in `pgoutput`, and exports the snapshot that fits it.
    ///
    /// `failover` asks for a slot that standbys keep in step with (17 and newer; ignored before).
    ///
    /// There is no time limit: the server waits for the end of every transaction that was open
    /// when it began, prepared ones too, for as long as they take.
    ///
    /// # Errors
    ///
    /// The connection or the command fails; 42710 (`duplicate_object`) when the slot exists,
    /// 53400 (`configuration_limit_exceeded`) when there is no room for one more.
    pub async fn create_slot(&mut self, slot: &str, failover: bool) -> Result<CreatedSlot, Error> {
        let kept = if failover { Kept::WithFailover } else { Kept::Here };
        self.make_slot(slot, kept).await
    }

    /// Exports a snapshot that sees everything that committed before now, by means of a slot of
    /// this name that goes with the connection.
    ///
    /// A snapshot that is taken by a plain transaction may lack transactions whose commit is in
    /// the log already: they are visible to others only when a synchronous standby has confirmed
    /// them. Here the server waits for those.
    ///
    /// # Errors
    ///
    /// As [`Self::create_slot`].
    pub async fn export_snapshot(&mut self, slot: &str) -> Result<CreatedSlot, Error> {
        self.make_slot(slot, Kept::Temporary).await
    }

    async fn make_slot(&mut self, slot: &str, kept: Kept) -> Result<CreatedSlot, Error> {
        let command = create_slot_command(slot, kept, self.server_version_num())?;
        let doing = || format!("create replication slot {slot:?}");
        let rows = self.connection.command(&command).await.map_err(|error| error.doing(doing()))?;
        let answer = Answer::one("CREATE_REPLICATION_SLOT", rows)?;
        Ok(CreatedSlot {
            consistent_point: answer.parse(1)?,
            snapshot_name: answer.optional_text(2)?.map(str::to_owned),
        })
    }

    /// Drops a slot that nobody holds.
    ///
    /// # Errors
    ///
    /// The connection or the command fails; 42704 (`undefined_object`) when there is no such slot,
    /// 55006 (`object_in_use`) when somebody holds it.
    pub async fn drop_slot(&mut self, slot: &str) -> Result<(), Error> {
        check_slot_name(slot)?;
        let command = format!("DROP_REPLICATION_SLOT {}", quote_identifier(slot)?);
        self.connection.quick_command(&command, "drop replication slot").await?;
        Ok(())
    }

    /// Starts the stream, which takes the slot for this connection until it ends.
    ///
    /// The server begins at its `confirmed_flush_lsn` or at `start`, whichever is later, without a
    /// word about which one it was; a `start` that lies in the future makes it leave out whatever
    /// commits before it. `Lsn::INVALID` always means the former.
    ///
    /// `messages` asks for logical decoding messages too. The protocol version is 1: transactions
    /// come whole, after their commit, in commit order.
    ///
    /// # Errors
    ///
    /// The connection or the command fails; 55006 (`object_in_use`) when another process holds
    /// the slot, 42704 (`undefined_object`) when there is none, 55000
    /// (`object_not_in_prerequisite_state`) when it was invalidated.
    pub async fn start_replication(
        mut self,
        slot: &str,
        start: Lsn,
        publications: &[&str],
        messages: bool,
    ) -> Result<ReplicationStream, Error> {
        let command = start_command(slot, start, publications, messages)?;
        let began = async {
            self.connection.begin_command(&command).await?;
            let frame = self.connection.next_frame().await?;
            match frame.tag {
                b'W' => Ok(()),
                other => Err(unexpected(other, "in answer to START_REPLICATION")),
            }
        };
        let result = tokio::time::timeout(COMMAND_TIMEOUT, began)
            .await
            .unwrap_or_else(|_| Err(Error::timeout("no answer", COMMAND_TIMEOUT)));
        if let Err(error) = result {
            self.connection.leave().await;
            return Err(error.doing(format!("start replication from slot {slot:?}")));
        }
        Ok(ReplicationStream::new(self.connection))
    }

    /// Says goodbye and closes.
    pub async fn close(self) {
        self.connection.terminate().await;
    }
}

/// Where and for how long a slot is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// Until the connection that made it ends.
    Temporary,
    /// On this server.
    Here,
    /// On this server and on standbys that keep in step with it.
    WithFailover,
}

fn create_slot_command(slot: &str, kept: Kept, version: u32) -> Result<String, Error> {
    check_slot_name(slot)?;
    let temporary = if kept == Kept::Temporary { " TEMPORARY" } else { "" };
    let mut command =
        format!("CREATE_REPLICATION_SLOT {}{temporary} LOGICAL pgoutput", quote_identifier(slot)?);
    // The list of options in parentheses came with 15, the option FAILOVER with 17.
    command.push_str(match (version, kept) {
        (..150_000, _) => " EXPORT_SNAPSHOT",
        (170_000.., Kept::WithFailover) => " (SNAPSHOT 'export', FAILOVER)",
        _ => " (SNAPSHOT 'export')",
    });
    Ok(command)
}

fn start_command(
    slot: &str,
    start: Lsn,
    publications: &[&str],
    messages: bool,
) -> Result<String, Error> {
    check_slot_name(slot)?;
    let mut command = format!(
        "START_REPLICATION SLOT {} LOGICAL {start} (proto_version '1', publication_names {}",
        quote_identifier(slot)?,
        quote_publications(publications)?
    );
    if messages {
        command.push_str(", messages 'true'");
    }
    command.push(')');
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_created_in_the_words_of_the_servers_version() {
        #[track_caller]
        fn check(version: u32, kept: Kept, expected: &str) {
            let command = create_slot_command("walpost", kept, version).unwrap();
            assert_eq!(command, format!("CREATE_REPLICATION_SLOT \"walpost\"{expected}"));
        }
        let failover = Kept::WithFailover;
        check(140_023, failover, " LOGICAL pgoutput EXPORT_SNAPSHOT");
        check(150_018, failover, " LOGICAL pgoutput (SNAPSHOT 'export')");
        check(170_010, Kept::Here, " LOGICAL pgoutput (SNAPSHOT 'export')");
        check(170_000, failover, " LOGICAL pgoutput (SNAPSHOT 'export', FAILOVER)");
        check(140_023, Kept::Temporary, " TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT");
        check(180_000, Kept::Temporary, " TEMPORARY LOGICAL pgoutput (SNAPSHOT 'export')");
        assert!(create_slot_command("no-slot", Kept::Here, 150_018).is_err());
    }

    #[test]
    fn the_stream_is_asked_for_by_slot_position_and_publications() {
        let start: Lsn = "16/B374D848".parse().unwrap();
        let command = start_command("walpost", start, &["it's", "b"], true).unwrap();
        assert_eq!(
            command,
            "START_REPLICATION SLOT \"walpost\" LOGICAL 16/B374D848 (proto_version '1', \
             publication_names '\"it''s\",\"b\"', messages 'true')"
        );
        let command = start_command("walpost", Lsn::INVALID, &["p"], false).unwrap();
        assert_eq!(
            command,
            "START_REPLICATION SLOT \"walpost\" LOGICAL 0/0 (proto_version '1', \
             publication_names '\"p\"')"
        );
        assert!(start_command("x\"", Lsn::INVALID, &["p"], false).is_err());
    }
}
