// The control database of a lab: the distribution's ovsdb-server, made by the product's commands.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/lab/network.h"
#include "tests/lab/process.h"

namespace homeport::lab {

/// One ovsdb-server. Its file stays when it is stopped.
class DatabaseServer {
 public:
  struct Place {
    const Namespace& inside;
    std::filesystem::path directory, pki;
    std::string address;
    /// Arguments of `homeport db init` that make it one of a cluster; empty: a single server.
    std::string cluster;
  };
  explicit DatabaseServer(Place place);
  ~DatabaseServer();
  DatabaseServer(const DatabaseServer&) = delete;
  DatabaseServer& operator=(const DatabaseServer&) = delete;

  /// Starts the server, unless it runs.
  void start();
  /// Kills it.
  void stop();
  /// SIGSTOP: connections stay and nothing is answered, until go_on().
  void pause();
  void go_on();
  /// Of a cluster: whether it is the one that decides, and since which election.
  bool leads() const;
  std::string term() const;
  /// Listens at this as well, "ptcp:6640:127.0.0.1", without rights being asked for.
  void listen(const std::string& target);
  /// From now on requests() has what it is asked, one request a line.
  void note_requests();
  std::string requests() const;

  const Namespace& inside() const { return place_.inside; }
  const std::string& address() const { return place_.address; }
  std::string remote() const;        ///< "ssl:192.168.77.1:6650", what agents connect to
  std::string local_remote() const;  ///< "unix:...", without a role: for the operator's commands

 private:
  pid_t process() const;  ///< 0 when there is none
  std::string cluster_status() const;

  Place place_;
};

/// One server beside the management switch, or a cluster of several on machines of their own.
class Database {
 public:
  Database(Switch& management, std::filesystem::path directory, unsigned servers);
  ~Database();

  /// Makes a host's key and certificate; returns the directory they are in.
  std::filesystem::path issue(const std::string& host);

  // Of all servers.
  void start();
  void stop();
  void pause();
  void go_on();

  /// The one that leads the cluster now.
  DatabaseServer& leader();
  /// Waits until the servers of a cluster agree on who leads: one that was frozen says for a moment
  /// that it still does, and what it knew then.
  void wait_agreed();
  DatabaseServer& server(std::size_t number) { return *servers_.at(number); }

  /// All servers, separated by commas.
  std::string remote() const;
  std::string local_remote() const;

 private:
  std::filesystem::path pki_;
  std::vector<std::unique_ptr<Namespace>> machines_;
  std::vector<std::unique_ptr<DatabaseServer>> servers_;
};

/// A relay on a machine of its own: an ovsdb-server that serves a copy of the database to hosts,
/// with their rights, and passes on what they write.
class Relay {
 public:
  Relay(Switch& management, const std::filesystem::path& lab_directory, const Database& source);

  void start();
  void kill();
  std::string remote() const;

 private:
  Namespace machine_;
  Command command_;
  std::filesystem::path log_;
  std::unique_ptr<Process> server_;
};

}  // namespace homeport::lab
