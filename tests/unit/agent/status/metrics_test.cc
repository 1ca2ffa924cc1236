#include "agent/status/metrics.h"

#include "tests/unit/agent/status/fixed_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <sstream>

namespace homeport::agent {
namespace {

/// A reader of the exposition format that accepts only what this agent should write.
struct Parsed {
  std::map<std::string, std::string> types;    // by family
  std::map<std::string, std::string> samples;  // "name{labels}" -> value
  std::vector<std::string> wrong;              // lines that break a rule
};

Parsed parse(const std::string& text) {
  static const std::regex help("# HELP ((?:homeport|process)_[a-z_]+) \\S.*\\.");
  static const std::regex type("# TYPE ((?:homeport|process)_[a-z_]+) (counter|gauge|summary)");
  static const std::regex sample(
      R"re(((?:homeport|process)_[a-z_]+)(\{(?:[a-z_]+="(?:[^"\\]|\\\\|\\"|\\n)*",?)+\})? (-?[0-9][0-9.e+-]*))re");
  Parsed parsed;
  std::string announced;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_match(line, match, help)) {
      announced = match[1];
      if (parsed.types.contains(announced)) parsed.wrong.push_back(line);
    } else if (std::regex_match(line, match, type) && match[1] == announced) {
      parsed.types[announced] = match[2];
    } else if (std::regex_match(line, match, sample)) {
      std::string name = match[1];
      std::string family = parsed.types[announced] == "summary"
                               ? std::regex_replace(name, std::regex("_(sum|count)$"), "")
                               : name;
      bool fresh = parsed.samples.emplace(name + std::string(match[2]), match[3]).second;
      if (family != announced || !fresh) parsed.wrong.push_back(line);
    } else {
      parsed.wrong.push_back(line);
    }
  }
  return parsed;
}

class StatusMetrics : public ::testing::Test {
 protected:
  std::string text_ = to_metrics(test::fixed_model());
  Parsed parsed_ = parse(text_);
};

TEST_F(StatusMetrics, FollowTheFormat) {
  EXPECT_THAT(parsed_.wrong, ::testing::IsEmpty());
  EXPECT_TRUE(text_.ends_with('\n'));
}

TEST_F(StatusMetrics, FollowTheNamingConventions) {
  for (const auto& [family, type] : parsed_.types) {
    EXPECT_EQ(family.ends_with("_total"), type == "counter") << family;
    EXPECT_EQ(family.find("_ms"), std::string::npos) << family << ": seconds are the base unit";
  }
}

/// The names of the labels in "name{label="value",...}", as the page writes them.
std::string labels_of(const std::string& sample) {
  static const std::regex label("([a-z_]+)=\"");
  std::string names;
  for (std::sregex_iterator match(sample.begin(), sample.end(), label), end; match != end;
       ++match) {
    names += (names.empty() ? "`" : ", `") + std::string((*match)[1]) + "`";
  }
  return names;
}

TEST_F(StatusMetrics, AreAllDescribedInTheDocs) {
  std::ifstream page(HOMEPORT_STATUS_DOC);
  static const std::regex row(
      "\\| `((?:homeport|process)_[a-z_]+)` \\| ([a-z]+) \\| ?([^|]*?) ?\\| \\S.*");
  using Described = std::pair<std::string, std::string>;  // type and labels
  std::map<std::string, Described> described, written;
  for (std::string line; std::getline(page, line);) {
    std::smatch match;
    if (std::regex_match(line, match, row)) described[match[1]] = {match[2], match[3]};
  }
  for (const auto& [family, type] : parsed_.types) written[family].first = type;
  for (const auto& [sample, value] : parsed_.samples) {
    std::string family = sample.substr(0, sample.find('{'));
    if (!written.contains(family)) {
      family = std::regex_replace(family, std::regex("_(sum|count)$"), "");
    }
    written[family].second = labels_of(sample);
  }
  EXPECT_EQ(described, written);
}

/// The format again, as somebody else understands it: the parser of Prometheus' Python client.
TEST_F(StatusMetrics, AreUnderstoodByPrometheus) {
  const std::string script = R"(
import sys
from prometheus_client.parser import text_string_to_metric_families
families = samples = 0
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.type in ("counter", "gauge", "summary"), family
    assert family.documentation and family.samples, family
    families += 1
    samples += len(family.samples)
print(families, samples)
)";
  const auto file =
      std::filesystem::temp_directory_path() / ("homeport-metrics-" + std::to_string(::getpid()));
  std::ofstream(file) << text_;
  std::unique_ptr<FILE, int (*)(FILE*)> python(
      ::popen(("/usr/bin/python3 -c '" + script + "' < " + file.string() + " 2>&1").c_str(), "r"),
      ::pclose);
  std::array<char, 4096> said{};
  said[std::fread(said.data(), 1, said.size() - 1, python.get())] = 0;
  std::filesystem::remove(file);
  EXPECT_EQ(std::string(said.data()), std::to_string(parsed_.types.size()) + " " +
                                          std::to_string(parsed_.samples.size()) + "\n");
}

TEST_F(StatusMetrics, CarryTheValues) {
  const auto& samples = parsed_.samples;
  EXPECT_EQ(samples.at("homeport_build_info{host=\"hostA\",version=\"0.1.0\"}"), "1");
  EXPECT_EQ(samples.at("process_start_time_seconds"), "1767225598.25");
  EXPECT_EQ(samples.at("process_cpu_seconds_total"), "1.25");
  EXPECT_EQ(samples.at("process_open_fds"), "30");
  EXPECT_EQ(samples.at("homeport_database_disconnections_total"), "3");
  EXPECT_EQ(samples.at("homeport_log_lines_total{level=\"warn\"}"), "7");
  EXPECT_EQ(samples.at("homeport_log_suppressed_lines_total"), "5");
  EXPECT_EQ(samples.at("homeport_move_phase_duration_seconds_sum{phase=\"copying\"}"), "3.5");
  EXPECT_EQ(samples.at("homeport_move_phase_duration_seconds_count{phase=\"copying\"}"), "2");
  EXPECT_EQ(samples.at("homeport_ready"), "1");
  EXPECT_EQ(samples.at("homeport_database_synchronized"), "1");
  EXPECT_EQ(samples.at("homeport_peer_up{peer=\"hostC\"}"), "0");
  EXPECT_EQ(samples.at("homeport_port_received_bytes_total{application=\"vm1\",binding=\"vm1\"}"),
            "18000000000000000000");
  EXPECT_EQ(samples.at("homeport_datapath_dropped_packets_total{reason=\"unknown_port\"}"), "6");
  EXPECT_EQ(samples.at("homeport_moves_total{outcome=\"rolled-back\"}"), "1");
  EXPECT_EQ(samples.at("homeport_move_downtime_seconds_sum"), "0.25");
  EXPECT_EQ(samples.at("homeport_move_downtime_seconds_count"), "2");
}

TEST_F(StatusMetrics, EscapeLabelValues) {
  EXPECT_THAT(text_, ::testing::HasSubstr(R"(application="a\"b\\c\nd")"));
}

TEST(StatusMetricsOfNothing, AreStillWellFormed) {
  EXPECT_THAT(parse(to_metrics(StatusModel{})).wrong, ::testing::IsEmpty());
}

}  // namespace
}  // namespace homeport::agent
