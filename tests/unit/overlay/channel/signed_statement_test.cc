#include "overlay/channel/signed_statement.h"

#include "tests/unit/overlay/channel/test_peers.h"

#include <gmock/gmock.h>

namespace homeport::overlay {
namespace {

using testing::HasSubstr;

class Signed : public testing::Test {
 protected:
  std::string refusal(const SignedStatement& statement, std::string_view purpose = "test") {
    auto signer = signer_of(statement, purpose);
    return signer ? "" : signer.error().message;
  }

  Authority authority_;
  TlsContext a_ = authority_.context("hostA"), b_ = authority_.context("hostB");
};

TEST_F(Signed, NamesWhoHasSigned) {
  for (const TlsContext* host : {&a_, &b_}) {
    for (const std::string& statement : {std::string("vm1 is at hostB"), std::string(4096, '\0')}) {
      const SignedStatement made = sign(*host, "test", statement).value();
      EXPECT_EQ(made.statement, statement);
      EXPECT_EQ(signer_of(made, "test").value(), host->certificate_sha256());
    }
  }
}

TEST_F(Signed, WhatWasChangedIsRefused) {
  const SignedStatement made = sign(a_, "test", "vm1 is at hostB").value();
  EXPECT_THAT(refusal(made, "another"), HasSubstr("not of the key"));
  EXPECT_THAT(refusal(made, "tes"), HasSubstr("not of the key"));
  SignedStatement changed = made;
  changed.statement.back() = 'C';
  EXPECT_THAT(refusal(changed), HasSubstr("not of the key"));
  changed = made;
  changed.signature.back() ^= 1;
  EXPECT_NE(refusal(changed), "");
  changed = made;
  changed.certificate = sign(b_, "test", "").value().certificate;
  EXPECT_THAT(refusal(changed), HasSubstr("not of the key"));
}

TEST_F(Signed, WhatIsNoneIsRefused) {
  const SignedStatement made = sign(a_, "test", "vm1 is at hostB").value();
  SignedStatement odd = made;
  odd.certificate.clear();
  EXPECT_THAT(refusal(odd), HasSubstr("certificate is none"));
  for (std::size_t length = 0; length < made.certificate.size(); length += 7) {
    odd.certificate = made.certificate.substr(0, length);
    EXPECT_NE(refusal(odd), "");
  }
  odd = made;
  odd.signature.clear();
  EXPECT_NE(refusal(odd), "");
  odd.signature.assign(kLongestSignature + 1, 'x');
  EXPECT_THAT(refusal(odd), HasSubstr("too long"));
  odd = made;
  odd.certificate.resize(kLongestCertificate + 1);
  EXPECT_THAT(refusal(odd), HasSubstr("too long"));
}

}  // namespace
}  // namespace homeport::overlay
