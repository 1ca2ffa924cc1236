#include "overlay/link/tap_queue.h"

#include "overlay/link/tap.h"
#include "tests/unit/overlay/link/devices.h"
#include "tests/unit/overlay/link/net_namespace.h"

#include <gtest/gtest.h>

namespace homeport::overlay {
namespace {

TEST(TapQueue, WhatWaitsIsSentBackIntoTheNetwork) {
  NetNamespace host;
  host.run([] {
    create_tap({.name = "tap1"}).value();
    UniqueFd queue = open_tap_queue("tap1").value();
    EXPECT_EQ(forward_waiting(queue.get(), 10), 0u);
    for (int i = 0; i < 5; ++i) put_blank_frame("tap1").value();
    EXPECT_EQ(forward_waiting(queue.get(), 2), 2u);
    EXPECT_FALSE(tap_queue_empty(queue.get()).value());
    EXPECT_EQ(forward_waiting(queue.get(), 10), 3u);
    EXPECT_TRUE(tap_queue_empty(queue.get()).value());
    EXPECT_EQ(received_packets("tap1"), 5u);
  });
}

}  // namespace
}  // namespace homeport::overlay
