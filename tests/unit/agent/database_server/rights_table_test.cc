// Every operation on every column of every table of the schema, from a host's certificate: what
// docs/control-database.md does not grant is refused. What is tried is made from the schema, and
// what is expected is read from the page, so that neither can be forgotten when a table is added.
#include "agent/database_server/db_init.h"
#include "tests/unit/agent/database_server/raw_client.h"
#include "tests/unit/agent/database_server/server_fixture.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <optional>
#include <regex>
#include <set>

namespace homeport::agent {
namespace {

namespace json = boost::json;

std::string read_file(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A row of the page's table of rights.
struct Granted {
  std::string owner;  ///< the column that names the host
  bool insert_delete = false;
  bool all_but = false;  ///< `columns` are those that may not be changed
  std::set<std::string> columns;

  bool may_change(const std::string& column) const { return columns.contains(column) != all_but; }
};

std::map<std::string, Granted> granted_by_the_page() {
  // | Binding | `location` is its own | update | `location`, `generation` |
  static const std::regex row(
      R"(\| (\w+) \| `(\w+)` is its own \| (insert, update, delete|update) \| (all but )?(.*) \|)");
  static const std::regex name("`(\\w+)`");
  std::map<std::string, Granted> all;
  std::istringstream page(read_file(HOMEPORT_DOC));
  for (std::string line; std::getline(page, line);) {
    std::smatch cells;
    if (!std::regex_match(line, cells, row)) continue;
    Granted granted{cells[2], cells[3] != "update", cells[4].matched, {}};
    const std::string columns = cells[5];
    for (std::sregex_iterator at(columns.begin(), columns.end(), name), end; at != end; ++at) {
      granted.columns.insert((*at)[1]);
    }
    all.emplace(cells[1], std::move(granted));
  }
  return all;
}

/// Values that a column's type allows; another one for each `number`.
class Values {
 public:
  explicit Values(const json::value& type) : type_(type) {
    const auto* object = type.if_object();
    key_ = object ? object->at("key") : type;
    if (object && object->if_contains("value")) value_ = object->at("value");
    if (!object) return;
    const auto* least = object->if_contains("min");
    const auto* most = object->if_contains("max");
    is_scalar_ = (!least || *least == 1) && (!most || *most == 1);
  }

  json::value make(unsigned number) const {
    // What refers to other rows stays empty where it may.
    if (base(value_ ? *value_ : key_) == "uuid") return empty();
    json::value key = atom(key_, number);
    if (!value_) return key;
    return json::array{"map", json::array{json::array{key, atom(*value_, number)}}};
  }

  /// A mutation that this type allows and that could always be carried out, if there is one.
  std::optional<json::array> mutation(const std::string& column) const {
    if (!is_scalar_) return json::array{column, "delete", empty()};
    if (base(key_) == "integer") return json::array{column, "+=", 0};
    return std::nullopt;
  }

 private:
  static std::string base(const json::value& type) {
    return std::string(type.is_object() ? type.at("type").as_string() : type.as_string());
  }
  json::value empty() const { return json::array{value_ ? "map" : "set", json::array{}}; }

  static json::value atom(const json::value& type, unsigned number) {
    const auto* rules = type.if_object();
    if (rules && rules->if_contains("enum")) {
      const auto& words = rules->at("enum").at(1).as_array();
      return words[number % words.size()];
    }
    auto limit = [&](const char* rule, std::int64_t otherwise) {
      const auto* value = rules ? rules->if_contains(rule) : nullptr;
      return value ? value->as_int64() : otherwise;
    };
    if (base(type) == "integer") {
      const auto least = limit("minInteger", 0);
      return least + number % (limit("maxInteger", INT32_MAX) - least + 1);
    }
    if (base(type) == "boolean") return number % 2 == 1;
    return json::value(fmt::format("{:x>{}}", number, limit("minLength", 0)));
  }

  json::value type_, key_;
  std::optional<json::value> value_;
  bool is_scalar_ = true;
};

class RightsTable : public testing::Test {
 protected:
  void SetUp() override {
    test::take_own_loopback();
    options_.directory = directory_.path() / "db";
    options_.schema = HOMEPORT_SCHEMA;
    options_.tls =
        DatabaseServerOptions::Tls{test::certificates().issue("database"), "127.0.0.1", 6650};
    auto made = init_database(options_);
    ASSERT_TRUE(made) << made.error().message;
    operator_.emplace(options_.directory / "homeport.sock");
    host_.emplace(test::certificates().issue("a"),
                  Endpoint(boost::asio::ip::make_address("127.0.0.1"), 6650));
  }
  ~RightsTable() override { EXPECT_TRUE(stop_database(options_.directory)); }

  template <class Client>
  static json::array transact(Client& client, json::array operations) {
    operations.insert(operations.begin(), "Homeport");
    return client.call("transact", std::move(operations)).at("result").as_array();
  }

  /// What the operation would come to: "" or an error's name. Nothing is changed.
  template <class Client>
  static std::string attempt(Client& client, const json::object& operation) {
    const auto results = transact(client, {operation, {{"op", "abort"}}});
    const auto* error = results.at(0).as_object().if_contains("error");
    return error ? std::string(error->as_string()) : "";
  }

  json::object make_row(const std::string& table, const std::string& owner) {
    json::object row;
    ++rows_made_;
    for (const auto& [column, rules] : columns_of(table)) {
      row[column] = Values(rules.at("type")).make(rows_made_);
    }
    if (auto granted = granted_.find(table); granted != granted_.end()) {
      row[granted->second.owner] = owner;
    }
    return row;
  }

  const json::object& columns_of(const std::string& table) const {
    return schema_.at("tables").at(table).at("columns").as_object();
  }

  /// The UUID of a row of that owner, or of any for which there are no owners.
  json::value row_of(const std::string& table, const std::string& owner) {
    if (!granted_.contains(table)) {
      const auto there = transact(
          *operator_,
          {{{"op", "select"}, {"table", table}, {"where", json::array{}}, {"columns", {"_uuid"}}}});
      const auto& rows = there.at(0).at("rows").as_array();
      if (!rows.empty()) return rows[0].at("_uuid");
    }
    const auto made = transact(
        *operator_, {{{"op", "insert"}, {"table", table}, {"row", make_row(table, owner)}}});
    if (made.size() != 1 || !made[0].as_object().if_contains("uuid")) {
      throw std::runtime_error(json::serialize(made));
    }
    return made[0].at("uuid");
  }

  /// Tries it as the host and as the operator, who may do everything.
  void expect(bool allowed, json::object operation) {
    SCOPED_TRACE(json::serialize(operation));
    EXPECT_EQ(attempt(*operator_, operation), "") << "this test asks for something impossible";
    EXPECT_EQ(attempt(*host_, operation), allowed ? "" : "permission error");
    ++(allowed ? allowed_ : refused_);
  }

  void try_row(const std::string& table, bool own) {
    const auto row = row_of(table, own ? "a" : "b");
    const auto found = granted_.find(table);
    const Granted* granted = own && found != granted_.end() ? &found->second : nullptr;
    const json::array where{json::array{"_uuid", "==", row}};
    const bool insert_delete = granted && granted->insert_delete;
    expect(insert_delete,
           {{"op", "insert"}, {"table", table}, {"row", make_row(table, own ? "a" : "b")}});
    expect(insert_delete, {{"op", "delete"}, {"table", table}, {"where", where}});
    json::object everything;
    for (const auto& [name, rules] : columns_of(table)) {
      const std::string column(name);
      const Values values(rules.at("type"));
      const bool may = granted && granted->may_change(column);
      everything[column] = values.make(rows_made_ + 50);
      expect(may, {{"op", "update"},
                   {"table", table},
                   {"where", where},
                   {"row", {{column, everything[column]}}}});
      if (auto mutation = values.mutation(column)) {
        expect(may, {{"op", "mutate"},
                     {"table", table},
                     {"where", where},
                     {"mutations", json::array{*mutation}}});
      }
    }
    expect(false, {{"op", "update"}, {"table", table}, {"where", where}, {"row", everything}});
  }

  /// What is allowed for its own row is not when another's is among those that are meant.
  void try_all_rows(const std::string& table) {
    const auto& granted = granted_.at(table);
    for (const auto& [name, rules] : columns_of(table)) {
      if (!granted.may_change(std::string(name))) continue;
      expect(false, {{"op", "update"},
                     {"table", table},
                     {"where", json::array{}},
                     {"row", {{name, Values(rules.at("type")).make(rows_made_ + 50)}}}});
    }
    if (granted.insert_delete) {
      expect(false, {{"op", "delete"}, {"table", table}, {"where", json::array{}}});
    }
    // It cannot make another's row its own.
    const json::array others{json::array{granted.owner, "==", "b"}};
    expect(
        false,
        {{"op", "update"}, {"table", table}, {"where", others}, {"row", {{granted.owner, "a"}}}});
  }

  const std::map<std::string, Granted> granted_ = granted_by_the_page();
  const json::value schema_ = json::parse(read_file(HOMEPORT_SCHEMA));
  test::TemporaryDirectory directory_;
  DatabaseServerOptions options_;
  std::optional<test::UnixClient> operator_;
  std::optional<test::TlsClient> host_;
  unsigned rows_made_ = 0, allowed_ = 0, refused_ = 0;
};

TEST_F(RightsTable, IsWhatThePageSays) {
  for (const auto& [name, table] : schema_.at("tables").as_object()) {
    const std::string text(name);
    SCOPED_TRACE(text);
    if (granted_.contains(text)) {
      try_row(text, true);
      try_row(text, false);
      try_all_rows(text);
    } else {
      try_row(text, false);
    }
  }
  for (const auto& [table, granted] : granted_) {
    EXPECT_TRUE(schema_.at("tables").as_object().contains(table)) << table;
    for (const auto& column : granted.columns) {
      EXPECT_TRUE(columns_of(table).contains(column)) << table << "." << column;
    }
  }
  EXPECT_EQ(granted_.size(), 7u) << "the page's table was not understood";
  EXPECT_GT(allowed_, 50u);
  EXPECT_GT(refused_, 200u);
}

TEST_F(RightsTable, DoesNotLetAHostChangeTheSchema) {
  const auto reply = host_->call("convert", {"Homeport", schema_});
  EXPECT_THAT(json::serialize(reply), testing::HasSubstr("permission error"));
}

TEST_F(RightsTable, LetsAHostReadEverything) {
  for (const auto& [name, table] : schema_.at("tables").as_object()) {
    EXPECT_EQ(attempt(*host_, {{"op", "select"}, {"table", name}, {"where", json::array{}}}), "")
        << std::string_view(name);
  }
}

}  // namespace
}  // namespace homeport::agent
