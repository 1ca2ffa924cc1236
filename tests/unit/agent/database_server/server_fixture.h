// What the tests of real servers share: a loopback of their own, and certificates.
#pragma once

#include "overlay/ovsdb/session.h"
#include "tests/unit/overlay/ovsdb/test_server.h"

#include <sched.h>

#include <cerrno>
#include <filesystem>
#include <map>
#include <string>
#include <system_error>
#include <vector>

namespace homeport::agent::test {

using namespace homeport::test;

inline std::string must(const std::vector<std::string>& command) {
  auto done = homeport::test::run_command(command);
  if (done.status != 0) throw std::runtime_error(command.front() + ": " + done.text);
  return done.text;
}

/// Puts this process, and what it starts, into a network namespace with nothing but a loopback, so
/// that every port is free there. Before the first thread.
inline void take_own_loopback() {
  static const bool done = [] {
    if (::unshare(CLONE_NEWNET) != 0) {
      throw std::system_error(errno, std::generic_category(), "unshare: needs root");
    }
    must({"ip", "link", "set", "lo", "up"});
    return true;
  }();
  static_cast<void>(done);
}

/// An authority and certificates signed by it.
class Certificates {
 public:
  Certificates() {
    must({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
          "-nodes", "-days", "1", "-subj", "/CN=Test CA", "-keyout", file("ca.key"), "-out",
          file("ca.pem")});
  }
  const overlay::ovsdb::TlsFiles& issue(const std::string& name) {
    auto [found, is_new] = issued_.try_emplace(name);
    if (is_new) {
      must({"openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", "/CN=" + name, "-keyout", file(name + ".key"), "-out", file(name + ".csr")});
      must({"openssl", "x509", "-req", "-in", file(name + ".csr"), "-CA", file("ca.pem"), "-CAkey",
            file("ca.key"), "-CAcreateserial", "-days", "1", "-out", file(name + ".pem")});
      found->second = {file(name + ".key"), file(name + ".pem"), file("ca.pem")};
    }
    return found->second;
  }

 private:
  std::string file(const std::string& name) const { return (directory_.path() / name).string(); }
  TemporaryDirectory directory_;
  std::map<std::string, overlay::ovsdb::TlsFiles> issued_;
};

/// The fleet's. One for the process, because the OVS library takes one TLS identity per process.
inline Certificates& certificates() {
  static Certificates all;
  return all;
}

}  // namespace homeport::agent::test
