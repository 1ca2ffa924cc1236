#include "overlay/channel/pki.h"

#include "tests/unit/overlay/channel/test_peers.h"

#include <sys/stat.h>

#include <fstream>

namespace homeport::overlay {
namespace {

using ::testing::Test;
namespace fs = std::filesystem;

class Pki : public Test {
 protected:
  pki::KeyPairFiles files(const std::string& stem) const {
    return {directory_.path() / (stem + ".pem"), directory_.path() / (stem + "-key.pem")};
  }
  static mode_t mode(const fs::path& file) {
    struct stat status {};
    EXPECT_EQ(::stat(file.c_str(), &status), 0);
    return status.st_mode & 07777;
  }
  void write(const fs::path& file, const std::string& contents) {
    std::ofstream(file) << contents;
    fs::permissions(file, fs::perms::owner_read | fs::perms::owner_write);
  }
  std::string load_error(const TlsIdentity& identity) {
    auto loaded = TlsContext::load(identity);
    EXPECT_FALSE(loaded);
    return loaded ? "" : loaded.error().message;
  }

  ScratchDirectory directory_;
};

TEST_F(Pki, MakesACaAndHostCertificates) {
  auto validity = pki::Validity::for_days(30);
  pki::create_ca(files("ca"), "fleet CA", validity).value();
  pki::issue_host_certificate(files("ca"), {"node-1.example", {"node-1"}, validity}, files("h"))
      .value();

  auto ca = pki::read_certificate(files("ca").certificate).value();
  EXPECT_EQ(ca.common_name, "fleet CA");
  EXPECT_EQ(ca.issuer_common_name, "fleet CA");
  EXPECT_TRUE(ca.is_ca);

  auto host = pki::read_certificate(files("h").certificate).value();
  EXPECT_EQ(host.common_name, "node-1.example");
  EXPECT_EQ(host.issuer_common_name, "fleet CA");
  EXPECT_EQ(host.dns_names, (std::vector<std::string>{"node-1.example", "node-1"}));
  EXPECT_EQ(host.validity.not_before, validity.not_before);
  EXPECT_EQ(host.validity.not_after, validity.not_after);
  EXPECT_FALSE(host.is_ca);
  EXPECT_EQ(host.sha256.size(), 64u);
  EXPECT_EQ(host.sha256.find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_EQ(host.serial.size(), 40u);

  EXPECT_EQ(mode(files("ca").private_key), 0600u);
  EXPECT_EQ(mode(files("h").private_key), 0600u);

  TlsIdentity identity{files("ca").certificate, files("h").certificate, files("h").private_key};
  auto loaded = TlsContext::load(identity).value();
  EXPECT_EQ(loaded.host(), "node-1.example");
  EXPECT_EQ(loaded.certificate_sha256(), host.sha256);
}

TEST_F(Pki, GivesEachCertificateItsOwnSerialAndKey) {
  Authority authority;
  auto first = pki::read_certificate(authority.identity("hostA").certificate).value();
  auto second = pki::read_certificate(authority.identity("hostA").certificate).value();
  EXPECT_NE(first.serial, second.serial);
  EXPECT_NE(first.sha256, second.sha256);
}

TEST_F(Pki, OverwritesNothing) {
  auto validity = pki::Validity::for_days(1);
  pki::create_ca(files("ca"), "CA", validity).value();
  auto before = pki::read_certificate(files("ca").certificate).value().sha256;
  auto again = pki::create_ca(files("ca"), "CA", validity);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, errc::file_exists);
  EXPECT_EQ(pki::read_certificate(files("ca").certificate).value().sha256, before);

  // The certificate is there and the key is not: neither is written.
  write(files("h").certificate, "mine");
  EXPECT_FALSE(pki::issue_host_certificate(files("ca"), {"h", {}, validity}, files("h")));
  EXPECT_FALSE(fs::exists(files("h").private_key));
}

TEST_F(Pki, RefusesNamesThatAreNoHostNames) {
  pki::create_ca(files("ca"), "CA", pki::Validity::for_days(1)).value();
  for (std::string name : {std::string(), std::string("-a"), std::string("a b"),
                           std::string("a,DNS:b"), std::string("a/b"), std::string(64, 'a'),
                           std::string("a\0b", 3), std::string("h\xc3\xb6st")}) {
    EXPECT_FALSE(pki::valid_host_name(name));
    auto issued = pki::issue_host_certificate(files("ca"), {name, {}, pki::Validity::for_days(1)},
                                              files("x"));
    EXPECT_FALSE(issued);
    auto also = pki::issue_host_certificate(
        files("ca"), {"good", {name}, pki::Validity::for_days(1)}, files("x"));
    EXPECT_FALSE(also);
  }
  EXPECT_FALSE(fs::exists(files("x").certificate));
  EXPECT_TRUE(pki::valid_host_name("Node_7.rack-2.example"));
}

TEST_F(Pki, RefusesAKeyOfAnotherCa) {
  Authority other;
  pki::create_ca(files("ca"), "CA", pki::Validity::for_days(1)).value();
  pki::KeyPairFiles mixed{files("ca").certificate, other.files().private_key};
  auto issued =
      pki::issue_host_certificate(mixed, {"h", {}, pki::Validity::for_days(1)}, files("h"));
  ASSERT_FALSE(issued);
  EXPECT_NE(issued.error().message.find("does not belong to the CA"), std::string::npos);
}

TEST_F(Pki, LoadingNamesTheFileThatIsWrong) {
  Authority authority;
  Authority other;
  TlsIdentity good = authority.identity("hostA");

  TlsIdentity bad = good;
  bad.ca_certificate = directory_.path() / "none.pem";
  EXPECT_NE(load_error(bad).find("none.pem: No such file"), std::string::npos) << load_error(bad);

  write(directory_.path() / "junk.pem", "-----BEGIN CERTIFICATE-----\njunk\n");
  bad = good;
  bad.certificate = directory_.path() / "junk.pem";
  EXPECT_NE(load_error(bad).find("junk.pem is not a PEM file"), std::string::npos);

  bad = good;
  write(directory_.path() / "junk.key", "no key");
  bad.private_key = directory_.path() / "junk.key";
  EXPECT_NE(load_error(bad).find("junk.key is not a PEM private key"), std::string::npos);

  bad = good;
  bad.private_key = authority.identity("hostA").private_key;
  EXPECT_NE(load_error(bad).find("does not belong to the certificate"), std::string::npos);

  bad = good;
  bad.ca_certificate = other.files().certificate;
  EXPECT_NE(load_error(bad).find("does not vouch for"), std::string::npos) << load_error(bad);

  bad = good;
  bad.certificate = authority.files().certificate;
  bad.private_key = authority.files().private_key;
  EXPECT_NE(load_error(bad).find("is not a host name"), std::string::npos) << load_error(bad);
}

TEST_F(Pki, RefusesAPrivateKeyThatOthersMayRead) {
  Authority authority;
  TlsIdentity identity = authority.identity("hostA");
  fs::permissions(identity.private_key, fs::perms::group_read, fs::perm_options::add);
  auto loaded = TlsContext::load(identity);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, errc::permission_denied);
  EXPECT_NE(loaded.error().message.find(identity.private_key.string()), std::string::npos);
  EXPECT_NE(loaded.error().message.find("chmod 600"), std::string::npos);
}

TEST_F(Pki, LoadsAnExpiredCertificateForThePeersToRefuse) {
  Authority authority;
  auto now = pki::Validity::for_days(0).not_after;
  EXPECT_TRUE(TlsContext::load(authority.identity("hostA", {now - 48h, now - 24h})));
}

}  // namespace
}  // namespace homeport::overlay
