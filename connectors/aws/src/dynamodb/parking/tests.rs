use foldstream_model::conformance;

use super::DynamoParking;
use crate::testing::Fixture;

#[tokio::test]
async fn it_passes_the_suite() {
    let fixture = Fixture::new().await;
    conformance::parking_lot::run(&DynamoParking::new(fixture.state.clone())).await;
}
