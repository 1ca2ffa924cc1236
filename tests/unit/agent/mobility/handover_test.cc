#include "agent/mobility/handover.h"

#include "overlay/channel/signed_statement.h"
#include "tests/unit/overlay/channel/test_peers.h"

#include <gmock/gmock.h>

namespace homeport::agent {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class HandoverTest : public testing::Test {
 protected:
  HandoverTest() {
    for (const char* name : {"vm1-a", "vm1-b"}) {
      Binding binding;
      binding.name = name;
      binding.application = "vm1";
      binding.network = "net1";
      binding.location = "hostA";
      contents_.bindings.insert_or_assign(name, binding);
    }
  }

  std::vector<SignedHandover> sign(const overlay::TlsContext& tls) {
    std::vector<SignedHandover> handovers;
    for (const std::string& bytes : sign_handovers(tls, contents_, "vm1", "hostB", 4)) {
      EXPECT_TRUE(handovers.emplace_back().ParseFromString(bytes));
    }
    return handovers;
  }
  std::string refusal(const SignedHandover& handover) {
    auto read = read_handover(handover, check_);
    return read ? "" : read.error().message;
  }

  Contents contents_;
  overlay::Authority authority_;
  overlay::TlsContext a_ = authority_.context("hostA"), b_ = authority_.context("hostB");
  /// The control database notes these certificates.
  overlay::PeerCheck check_ = [this](const std::string& host,
                                     const std::string& sha256) -> policy::Result<void> {
    if (host == "hostA" && sha256 == a_.certificate_sha256()) return {};
    if (host == "hostB" && sha256 == b_.certificate_sha256()) return {};
    return policy::make_error(boost::system::errc::permission_denied, "not of the database");
  };
};

TEST_F(HandoverTest, OfEachBindingByTheHostThatHadIt) {
  auto handovers = sign(a_);
  ASSERT_THAT(handovers, SizeIs(2));
  for (std::size_t i = 0; i < 2; ++i) {
    const Handover read = read_handover(handovers[i], check_).value();
    EXPECT_EQ(read.from, "hostA");
    EXPECT_EQ(read.moved, (Moved{i == 0 ? "vm1-a" : "vm1-b", "hostB", 4}));
  }
  EXPECT_THAT(sign_handovers(a_, contents_, "vm2", "hostB", 4), IsEmpty());
}

TEST_F(HandoverTest, NobodySignsForAnother) {
  // By the key of a host that the database knows, in the name of another one.
  HandoverStatement statement;
  statement.set_from("hostA");
  statement.set_binding("vm1-a");
  statement.set_host("hostB");
  statement.set_generation(4);
  auto made = overlay::sign(b_, "handover of a binding", statement.SerializeAsString()).value();
  SignedHandover handover;
  handover.set_statement(made.statement);
  handover.set_signature(made.signature);
  handover.set_certificate(made.certificate);
  EXPECT_THAT(refusal(handover), HasSubstr("not of the database"));
  // By a certificate of that name which the database does not note.
  EXPECT_THAT(refusal(sign(authority_.context("hostA")).front()), HasSubstr("not of the database"));
  // By that host, for something else.
  made = overlay::sign(a_, "another purpose", statement.SerializeAsString()).value();
  handover.set_signature(made.signature);
  handover.set_certificate(made.certificate);
  EXPECT_THAT(refusal(handover), HasSubstr("not of the key"));
}

TEST_F(HandoverTest, WhatIsNoneIsRefused) {
  EXPECT_THAT(refusal({}), HasSubstr("certificate is none"));
  auto made = overlay::sign(a_, "handover of a binding", "\xff\xff\xff").value();
  SignedHandover handover;
  handover.set_statement(made.statement);
  handover.set_signature(made.signature);
  handover.set_certificate(made.certificate);
  EXPECT_THAT(refusal(handover), HasSubstr("no handover"));
  handover = sign(a_).front();
  handover.mutable_statement()->append("x");
  EXPECT_THAT(refusal(handover), HasSubstr("not of the key"));
}

TEST_F(HandoverTest, OfTheMoveAtHandAlone) {
  Binding other;
  other.name = "vm2";
  other.application = "vm2";
  contents_.bindings.insert_or_assign("vm2", other);
  const ArrivedMove move{"hostA", "hostB", "vm1", 4};
  EXPECT_TRUE(is_of_move({"hostA", {"vm1-a", "hostB", 4}}, move, contents_));
  EXPECT_FALSE(is_of_move({"hostC", {"vm1-a", "hostB", 4}}, move, contents_));
  EXPECT_FALSE(is_of_move({"hostA", {"vm1-a", "hostC", 4}}, move, contents_));
  EXPECT_FALSE(is_of_move({"hostA", {"vm1-a", "hostB", 5}}, move, contents_));
  EXPECT_FALSE(is_of_move({"hostA", {"vm2", "hostB", 4}}, move, contents_));
  EXPECT_FALSE(is_of_move({"hostA", {"vm1-c", "hostB", 4}}, move, contents_));
}

}  // namespace
}  // namespace homeport::agent
