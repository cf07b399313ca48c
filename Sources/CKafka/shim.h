#pragma once
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

/// Bytes; none where `bytes` is NULL.
typedef struct {
  const void *bytes;
  size_t count;
} kafka_bytes;

/// Hands a message to the producer, which copies it. Never blocks; what Swift cannot call itself, because it is variadic.
static inline rd_kafka_resp_err_t kafka_produce(
    rd_kafka_t *client, const char *topic, kafka_bytes key, kafka_bytes value, int64_t milliseconds, kafka_bytes stream,
    kafka_bytes identity, void *ticket) {
  // A header whose name is NULL would be an error, and one that is empty is no identity: two calls.
  if (identity.bytes == NULL)
    return rd_kafka_producev(
        client, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY(key.bytes, key.count),
        RD_KAFKA_V_VALUE((void *)value.bytes, value.count), RD_KAFKA_V_TIMESTAMP(milliseconds),
        RD_KAFKA_V_HEADER("Stream", stream.bytes, stream.count), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_OPAQUE(ticket), RD_KAFKA_V_END);
  return rd_kafka_producev(
      client, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY(key.bytes, key.count),
      RD_KAFKA_V_VALUE((void *)value.bytes, value.count), RD_KAFKA_V_TIMESTAMP(milliseconds),
      RD_KAFKA_V_HEADER("Stream", stream.bytes, stream.count),
      RD_KAFKA_V_HEADER("Idempotency-Key", identity.bytes, identity.count), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
      RD_KAFKA_V_OPAQUE(ticket), RD_KAFKA_V_END);
}
