//! What befalls puts into Kinesis: some of their records fail alone, some are said to have failed and have not, and answers
//! are lost.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use aws_sdk_kinesis::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{
            BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextMut,
            FinalizerInterceptorContextMut,
        },
    },
    error::BoxError,
    operation::put_records::PutRecordsOutput,
    types::PutRecordsResultEntry,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use crate::Connection;

/// Of a request: the ranks of its records that were kept back.
#[derive(Debug)]
struct KeptBack(Vec<usize>);

impl Storable for KeptBack {
    type Storer = StoreReplace<Self>;
}

#[derive(Debug, Clone, Default)]
pub(super) struct Mishaps {
    drawn: Arc<AtomicU64>,
    /// How many have happened.
    pub happened: Arc<AtomicU64>,
}

impl Mishaps {
    pub(super) fn client(&self, connection: &Connection) -> aws_sdk_kinesis::Client {
        let config =
            aws_sdk_kinesis::config::Builder::from(&connection.sdk).interceptor(self.clone()).build();
        aws_sdk_kinesis::Client::from_conf(config)
    }

    /// The same in every run of as many draws.
    fn one_in(&self, count: u64) -> bool {
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        let is_due = xxh3_64(&drawn.to_le_bytes()).is_multiple_of(count);
        self.happened.fetch_add(u64::from(is_due), Ordering::Relaxed);
        is_due
    }
}

fn is_put(config: &ConfigBag) -> bool {
    config.load::<Metadata>().is_some_and(|of| of.name() == "PutRecords")
}

fn failed() -> PutRecordsResultEntry {
    let code = "ProvisionedThroughputExceededException";
    PutRecordsResultEntry::builder().error_code(code).error_message("by the test").build()
}

impl Intercept for Mishaps {
    fn name(&self) -> &'static str {
        "mishaps of puts"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if !is_put(config) {
            return Ok(());
        }
        let request = context.request_mut();
        let mut body: Value = serde_json::from_slice(request.body().bytes().unwrap_or_default())?;
        let records = body["Records"].as_array_mut().ok_or("a put has records")?;
        let ranks: Vec<usize> = (1..records.len()).filter(|_| self.one_in(10)).collect();
        ranks.iter().rev().for_each(|rank| drop(records.remove(*rank)));
        let body = body.to_string();
        request.headers_mut().insert("content-length", body.len().to_string());
        *request.body_mut() = body.into();
        config.interceptor_state().store_put(KeptBack(ranks));
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        _context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        match is_put(config) && self.one_in(8) {
            true => Err("the answer is lost".into()),
            false => Ok(()),
        }
    }

    fn modify_before_attempt_completion(
        &self,
        context: &mut FinalizerInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(Ok(output)) = context.output_or_error_mut() else { return Ok(()) };
        let Some(put) = output.downcast_mut::<PutRecordsOutput>() else { return Ok(()) };
        let KeptBack(ranks) = config.load::<KeptBack>().ok_or("a put was looked at before")?;
        for record in &mut put.records {
            if self.one_in(12) {
                *record = failed();
            }
        }
        ranks.iter().for_each(|rank| put.records.insert(*rank, failed()));
        Ok(())
    }
}
