//! After a refusal for size: how large a batch the topic takes now.

use super::Supervisor;
use crate::config::Config;
use crate::kafka::batch_limits::{MAX_MESSAGE_BYTES, configured};
use crate::kafka::client::auxiliary;
use crate::kafka::topics::Topics;

impl<L: FnMut() -> Result<Config, String>> Supervisor<L> {
    /// Reads the limits of topics that refused a batch for its size, before the next producer is
    /// made; where that may not be done, the limit is halved.
    ///
    /// A limit below the size that batches had explains the refusal, so that rows go in batches
    /// again, smaller ones. Otherwise the rows of the refused batch are sent one at a time.
    pub(super) async fn read_doubted_limits(&mut self, config: &Config) {
        for topic in std::mem::take(&mut self.doubted) {
            let batch_size = self.batch_limits.batch_size(configured(&config.kafka));
            match read(config, &topic).await {
                Ok(limit) => {
                    self.batch_limits.note(&topic, limit);
                    if limit < batch_size {
                        self.refusals.explained(&topic);
                    }
                    tracing::info!(
                        topic,
                        limit,
                        batch_size,
                        "the topic's max.message.bytes was read again after a refusal"
                    );
                }
                Err(error) => {
                    let guess = self.batch_limits.guess(&topic, batch_size);
                    tracing::warn!(
                        topic,
                        error,
                        guess,
                        "the topic's max.message.bytes cannot be read, so it is guessed; the right DescribeConfigs on the topic spares that"
                    );
                }
            }
        }
    }
}

async fn read(config: &Config, topic: &str) -> Result<usize, String> {
    let topics = Topics::new(&auxiliary(&config.kafka, &config.name)).map_err(|e| e.to_string())?;
    let limit = topics.config(topic, MAX_MESSAGE_BYTES).await.map_err(|e| e.to_string())?;
    limit.and_then(|limit| limit.parse().ok()).ok_or_else(|| "the brokers do not tell".to_owned())
}
