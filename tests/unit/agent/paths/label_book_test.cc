// What a host that relays has given labels for.
#include "agent/paths/label_book.h"

#include "policy/path/path.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/ip/address.hpp>

#include <string>

namespace homeport::agent {
namespace {

using namespace std::chrono_literals;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

policy::IpAddress host(int number) {
  return boost::asio::ip::make_address("192.0.2." + std::to_string(number));
}

LabelMeaning meaning(int from, int to, policy::Vni vni) {
  return {host(from), host(to), vni};
}

constexpr policy::Time kNow{1h};

TEST(LabelBook, EveryMeaningHasALabelOfItsOwn) {
  LabelBook book;
  std::set<policy::Vni> labels;
  for (int from = 1; from <= 10; ++from) {
    std::set<LabelMeaning> wanted;
    for (int to = 1; to <= 10; ++to) {
      for (policy::Vni vni : {100u, 101u}) wanted.insert(meaning(from, 100 + to, vni));
    }
    book.want(host(from), wanted, kNow);
    for (const LabelMeaning& each : wanted) {
      const auto label = book.label_of(each);
      ASSERT_TRUE(label);
      EXPECT_GE(*label, overlay::kFirstLabel);
      EXPECT_LE(*label, overlay::kLastLabel);
      EXPECT_TRUE(labels.insert(*label).second);
    }
  }
  EXPECT_THAT(book.entries(), SizeIs(200));
  EXPECT_THAT(book.askers(), SizeIs(10));
  EXPECT_EQ(book.wanted(), 200u);
  EXPECT_FALSE(book.label_of(meaning(1, 101, 102)));
}

TEST(LabelBook, AnotherRunGivesTheSame) {
  LabelBook one, other;
  const LabelMeaning wanted = meaning(1, 2, 100);
  one.want(host(1), {wanted, meaning(1, 3, 100)}, kNow);
  other.want(host(1), {wanted}, kNow);
  EXPECT_EQ(one.label_of(wanted), other.label_of(wanted));
}

TEST(LabelBook, WhatAnEarlierRunHasGivenStays) {
  LabelBook book;
  book.adopt({{0x700123, host(1), host(2), 100}, {0x700124, host(3), host(2), 100}});
  EXPECT_EQ(book.label_of(meaning(1, 2, 100)), 0x700123u);
  book.want(host(1), {meaning(1, 2, 100)}, kNow);
  EXPECT_EQ(book.label_of(meaning(1, 2, 100)), 0x700123u);
  EXPECT_EQ(book.label_of(meaning(3, 2, 100)), 0x700124u) << "another host's";
}

TEST(LabelBook, ALabelRestsBeforeItIsGone) {
  LabelBook book;
  const LabelMeaning wanted = meaning(1, 2, 100);
  book.want(host(1), {wanted}, kNow);
  const auto label = book.label_of(wanted);
  book.want(host(1), {}, kNow);
  EXPECT_FALSE(book.label_of(wanted));
  EXPECT_THAT(book.askers(), IsEmpty());
  EXPECT_EQ(book.wanted(), 0u);
  book.look(kNow + 59s);
  EXPECT_THAT(book.entries(), SizeIs(1)) << "frames may be on their way";
  book.want(host(1), {wanted}, kNow + 59s);
  EXPECT_EQ(book.label_of(wanted), label);
  book.look(kNow + 2h);
  EXPECT_THAT(book.entries(), SizeIs(1));
  book.want(host(1), {}, kNow + 2h);
  book.look(kNow + 2h + 60s);
  EXPECT_THAT(book.entries(), IsEmpty());
}

TEST(LabelBook, ALabelThatRestsIsGivenToNobodyElse) {
  // So many that any free one would be taken.
  LabelBook book({.all = 3, .of_host = 3});
  book.want(host(1), {meaning(1, 2, 1), meaning(1, 2, 2), meaning(1, 2, 3)}, kNow);
  book.want(host(1), {}, kNow);
  book.want(host(2), {meaning(2, 3, 1)}, kNow + 1s);
  EXPECT_FALSE(book.label_of(meaning(2, 3, 1)));
  book.look(kNow + 61s);
  book.want(host(2), {meaning(2, 3, 1)}, kNow + 61s);
  EXPECT_TRUE(book.label_of(meaning(2, 3, 1)));
}

TEST(LabelBook, NoHostGetsMoreThanItsShare) {
  LabelBook book({.all = 5, .of_host = 3});
  std::set<LabelMeaning> wanted;
  for (policy::Vni vni = 1; vni <= 10; ++vni) wanted.insert(meaning(1, 2, vni));
  book.want(host(1), wanted, kNow);
  EXPECT_EQ(book.wanted(), 3u);
  EXPECT_TRUE(book.label_of(meaning(1, 2, 3)));
  EXPECT_FALSE(book.label_of(meaning(1, 2, 4)));
  book.want(host(3), {meaning(3, 2, 1), meaning(3, 2, 2), meaning(3, 2, 3)}, kNow);
  EXPECT_EQ(book.wanted(), 5u);
  EXPECT_THAT(book.askers(), UnorderedElementsAre(host(1), host(3)));
}

TEST(LabelBook, AHostAsksForItselfOnly) {
  LabelBook book;
  book.want(host(1), {meaning(4, 2, 100)}, kNow);
  EXPECT_THAT(book.entries(), IsEmpty());
}

}  // namespace
}  // namespace homeport::agent
