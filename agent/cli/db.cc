// homeport db init
#include "agent/cli/arguments.h"
#include "agent/cli/commands.h"
#include "agent/cli/pki_directory.h"
#include "agent/cli/schema.h"
#include "agent/database_server/db_init.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <ostream>

namespace homeport::agent {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
namespace pki = overlay::pki;
using policy::Result;

struct DbArguments {
  fs::path directory = "/var/lib/homeport";
  std::string listen, cluster;
  std::vector<std::string> join;
  std::optional<std::uint32_t> election_timer;  ///< In milliseconds.
  fs::path pki_directory;
};

/// The schema built into this program, as a file for as long as this lives.
class SchemaFile {
 public:
  static Result<SchemaFile> write() {
    std::string path = (fs::temp_directory_path() / "homeport-schema-XXXXXX").string();
    int file = ::mkostemp(path.data(), O_CLOEXEC);
    if (file < 0) return policy::errno_error("Cannot make a temporary file for the schema");
    SchemaFile schema(path);
    std::size_t size = sizeof kSchema - 1;
    bool whole = ::write(file, kSchema, size) == static_cast<ssize_t>(size);
    int error = errno;
    ::close(file);
    if (!whole) return policy::errno_error(fmt::format("Cannot write {}", path), error);
    return schema;
  }
  SchemaFile(SchemaFile&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  SchemaFile& operator=(SchemaFile&&) = delete;
  ~SchemaFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  const fs::path& path() const { return path_; }

 private:
  explicit SchemaFile(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
};

/// The server's TLS files; they are made when the authority's key is at hand.
Result<overlay::ovsdb::TlsFiles> server_identity(const fs::path& directory) {
  pki::KeyPairFiles ca = ca_files(directory);
  pki::KeyPairFiles server = pki_files(directory, kDatabaseCertificate);
  if (!fs::exists(server.certificate) && fs::exists(ca.private_key)) {
    auto made = pki::issue_host_certificate(
        ca, {kDatabaseCertificate, {}, pki::Validity::for_days(825)}, server);
    if (!made) return made.error();
  }
  for (const fs::path& file : {ca.certificate, server.certificate, server.private_key}) {
    if (fs::exists(file)) continue;
    return policy::make_error(
        boost::system::errc::no_such_file_or_directory,
        fmt::format("{} is missing; make it with `homeport pki init` and `homeport pki issue {}`.",
                    file.string(), kDatabaseCertificate));
  }
  // ovsdb-server keeps these paths and may run in another directory.
  return overlay::ovsdb::TlsFiles{.private_key = fs::absolute(server.private_key),
                                  .certificate = fs::absolute(server.certificate),
                                  .ca_certificate = fs::absolute(ca.certificate)};
}

Result<int> init(Invocation& invocation, const DbArguments& given) {
  DatabaseServerOptions options;
  options.directory = fs::absolute(given.directory);
  if (!given.pki_directory.empty()) {
    auto identity = server_identity(given.pki_directory);
    if (!identity) return identity.error();
    if (!given.listen.empty()) {
      Endpoint endpoint = *parse_endpoint(given.listen);
      options.tls = {*identity, endpoint.address().to_string(), endpoint.port()};
    }
    if (!given.cluster.empty()) {
      DatabaseServerOptions::Cluster cluster;
      cluster.local = *parse_endpoint(given.cluster);
      for (const auto& other : given.join) cluster.join.push_back(*parse_endpoint(other));
      cluster.files = *identity;
      if (given.election_timer) {
        cluster.election_timer = std::chrono::milliseconds(*given.election_timer);
      }
      options.cluster = std::move(cluster);
    }
  }
  auto schema = SchemaFile::write();
  if (!schema) return schema.error();
  options.schema = schema->path();
  auto server = init_database(options);
  if (!server) return server.error();
  if (!invocation.global.json) {
    invocation.terminal.out << server->summary << "\n";
    return kExitDone;
  }
  json::object object{{"created", server->created},
                      {"started", server->started},
                      {"joined", server->joined},
                      {"unix_remote", server->unix_remote},
                      {"tls_port", nullptr}};
  if (server->tls_port) object["tls_port"] = *server->tls_port;
  invocation.terminal.out << json::serialize(object) << "\n";
  return kExitDone;
}

}  // namespace

void add_db_commands(CLI::App& app, Invocation& invocation) {
  CLI::App* group = app.add_subcommand("db", "Make and start a control database on this machine");
  group->require_subcommand(1);
  auto arguments = std::make_shared<DbArguments>();
  CLI::App* command = group->add_subcommand(
      "init", "Make the database if there is none, start its server, set up rights and listener");
  command
      ->add_option("--dir", arguments->directory,
                   "Where the database and its socket are (default: /var/lib/homeport)")
      ->type_name("DIR");
  CLI::Option* listen =
      command
          ->add_option("--listen", arguments->listen,
                       "Where hosts connect with their certificates, such as 192.0.2.1:6650")
          ->check(kIsEndpoint);
  CLI::Option* directory =
      command->add_option("--pki", arguments->pki_directory, "The directory of `homeport pki`")
          ->type_name("DIR")
          ->check(CLI::ExistingDirectory);
  CLI::Option* cluster =
      command
          ->add_option("--cluster", arguments->cluster,
                       "Make a server of a cluster, which the others reach here, such as "
                       "192.0.2.1:6651; without --join it begins one")
          ->check(kIsEndpoint);
  CLI::Option* join = add_repeated(*command, "--join", arguments->join,
                                   "A server of the cluster to join; may be repeated")
                          ->check(kIsEndpoint)
                          ->needs(cluster);
  command
      ->add_option("--election-timer", arguments->election_timer,
                   "With --cluster, when it is begun: how long its servers wait for a leader that "
                   "says nothing, in milliseconds (default: 1000; a large fleet needs more)")
      ->type_name("MS")
      ->check(CLI::Range(100, 600'000))
      ->needs(cluster)
      ->excludes(join);
  listen->needs(directory);
  cluster->needs(directory);
  command->callback([arguments, &invocation] {
    invocation.action = [arguments, &invocation] { return init(invocation, *arguments); };
  });
}

}  // namespace homeport::agent
