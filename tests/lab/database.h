// The control database of a lab: the distribution's ovsdb-server, made by the product's commands.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "tests/lab/cleanup.h"
#include "tests/lab/network.h"
#include "tests/lab/process.h"

namespace homeport::lab {

/// Lives beside the management switch. Certificates and the database's file are made by
/// `homeport pki init`, `homeport pki issue` and `homeport db init`.
class Database {
 public:
  /// `address`: of the management switch, already configured there.
  Database(const Switch& management, std::filesystem::path directory, std::string address);
  ~Database();

  /// Makes a host's key and certificate; returns the directory they are in.
  std::filesystem::path issue(const std::string& host);

  /// Kills the server; its file stays.
  void stop();
  /// SIGSTOP: connections stay and nothing is answered, until go_on().
  void pause();
  void go_on();
  /// Starts the server again on the same file and port.
  void start();

  /// "ssl:192.168.77.1:6640", what agents connect to.
  const std::string& remote() const { return remote_; }
  /// "unix:...", without a role: for the operator's commands.
  const std::string& local_remote() const { return local_remote_; }
  const std::filesystem::path& pki() const { return pki_; }

 private:
  pid_t server() const;  ///< 0 when there is none

  const Switch& management_;
  std::filesystem::path directory_, pki_;
  std::string address_, remote_, local_remote_;
};

}  // namespace homeport::lab
