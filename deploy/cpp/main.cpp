// Answers with a folder that tools/export.py wrote: token ids as JSON lines in, logits as JSON lines out.
//
//   python tools/infer.py --model DIR --token-ids < questions.jsonl | infer DIR > answers.jsonl
//
// A line in is {"id": ..., "input_ids": [[...]], "token_type_ids": [[...]]}, with one sequence or one a candidate. A
// line out is {"id": ..., "logits": ...}: a logit for each output of the head; of a task with candidates, one for each;
// of a task that marks tokens, for each output one a token. A task with one label an input also gets that, "label".
// What the user can mend leaves "error: ..." on stderr and exit code 2.

#include <paddle_inference_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

using nlohmann::json;
using Path = std::filesystem::path;
using Sequence = std::vector<std::int64_t>;

const char* const NETWORK = "model.json";
const char* const WEIGHTS = "model.pdiparams";
const char* const MASK = "attention_mask";  // 1 for a token, 0 for padding: the input that is not read but made
const char* const ROW = "per row";
const char* const CANDIDATE = "per candidate";
const char* const POSITION = "per position";
const std::set<std::string> ONE_LABEL = {"classification", "pair", "keywords", "coreference"};  // kinds of tasks
const char* const COPY_AGAIN = " Copy the folder again, or export it anew with tools/export.py.";
const char* const USAGE = "usage: infer DIR [--threads N] [--batch LINES] < token_ids.jsonl";

struct InputError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What task.json says.
struct Task {
  std::vector<std::string> labels;             // in the order of the logits; empty where an input has not one label
  std::map<std::string, std::int64_t> inputs;  // their names, and what the numbers in each are below
  std::uintmax_t network_bytes = 0, weights_bytes = 0;
  std::string form;  // of the head: ROW, CANDIDATE or POSITION
  std::size_t outputs = 0;
  std::size_t max_length = 0;
};

// One line, which the network sees as one row or, of candidates, as several.
struct Question {
  std::size_t line = 0;
  json id;
  std::map<std::string, std::vector<Sequence>> inputs;

  const std::vector<Sequence>& tokens() const { return inputs.at(MASK); }
};

void require(bool holds, const std::string& message) {
  if (!holds) throw InputError(message);
}

std::string first_line(const std::string& text) {
  const std::size_t start = std::min(text.find_first_not_of("\n "), text.size());
  return text.substr(start, text.find('\n', start) - start);
}

Path file_of(const Path& folder, const std::string& name) {
  const Path file = folder / name;
  require(std::filesystem::is_regular_file(file),
          file.string() + ": no such file; " + folder.string() + " is no folder that tools/export.py wrote.");
  return file;
}

Task read_task(const Path& folder) {
  const Path file = file_of(folder, "task.json");
  const std::string what = file.string() + ": is damaged, or of another version of this project (";
  const std::string remedy = "). Export the model anew with tools/export.py.";
  Task task;
  try {
    std::ifstream stream(file);
    const json values = json::parse(stream);
    if (ONE_LABEL.count(values.at("task").at("kind").get<std::string>()))
      task.labels = values.at("task").at("labels").get<std::vector<std::string>>();
    task.max_length = values.at("task").at("max_length").get<std::size_t>();
    task.form = values.at("output").at("form").get<std::string>();
    task.outputs = values.at("output").at("outputs").get<std::size_t>();
    task.network_bytes = values.at("bytes").at(NETWORK).get<std::uintmax_t>();
    task.weights_bytes = values.at("bytes").at(WEIGHTS).get<std::uintmax_t>();
    for (const json& input : values.at("inputs")) {
      const std::string name = input.at("name").get<std::string>();
      require(input.at("dtype") == "int64", what + name + " is not int64" + remedy);
      task.inputs[name] = input.at("below").get<std::int64_t>();
    }
  } catch (const json::exception& error) {
    throw InputError(what + error.what() + remedy);
  }
  require(task.form == ROW || task.form == CANDIDATE || task.form == POSITION, what + "form " + task.form + remedy);
  require(task.labels.empty() || task.labels.size() == task.outputs, what + "labels and outputs differ" + remedy);
  return task;
}

// Paddle itself reads weights that lack their last bytes, and answers wrongly.
std::string whole_file(const Path& folder, const std::string& name, std::uintmax_t written) {
  const Path file = file_of(folder, name);
  const std::uintmax_t size = std::filesystem::file_size(file);
  require(size == written, file.string() + ": is cut off or damaged: it has " + std::to_string(size) + " bytes, and " +
                               std::to_string(written) + " were written." + COPY_AGAIN);
  return file.string();
}

std::shared_ptr<paddle_infer::Predictor> load(const Path& folder, const Task& task, int threads) {
  const std::string network = whole_file(folder, NETWORK, task.network_bytes);
  paddle_infer::Config config(network, whole_file(folder, WEIGHTS, task.weights_bytes));
  config.DisableGlogInfo();
  config.DisableGpu();
  config.SetCpuMathLibraryNumThreads(threads);
  config.EnableNewExecutor();
  config.EnableNewIR();
  config.EnableMemoryOptim();
  std::shared_ptr<paddle_infer::Predictor> predictor;
  std::string fault;
  try {
    predictor = paddle_infer::CreatePredictor(config);
    const std::vector<std::string> names = predictor->GetInputNames();
    if (names.size() != task.inputs.size()) fault = "task.json names another number of inputs";
    for (const std::string& name : names)
      if (!task.inputs.count(name)) fault = "task.json has no input " + name;
  } catch (const std::exception& error) {
    fault = first_line(error.what());
  }
  require(fault.empty(), network + " or " + WEIGHTS + ": is damaged (" + fault + ")." + COPY_AGAIN);
  return predictor;
}

Question read_question(const std::string& text, std::size_t line, const Task& task) {
  const std::string place = "line " + std::to_string(line) + ": ";
  Question question{line, nullptr, {}};
  try {
    const json record = json::parse(text);
    question.id = record.at("id");
    for (const auto& [name, below] : task.inputs) {
      if (name == MASK) continue;
      std::vector<Sequence>& sequences = question.inputs[name];
      sequences = record.at(name).get<std::vector<Sequence>>();
      require(json(sequences) == record.at(name), place + name + " holds what is no whole number.");
      for (const Sequence& sequence : sequences)
        for (const std::int64_t number : sequence)
          require(number >= 0 && number < below, place + name + " holds " + std::to_string(number) +
                                                     "; its numbers run from 0 to " + std::to_string(below - 1) + ".");
    }
  } catch (const json::exception& error) {
    throw InputError(place + error.what() + ". Make the lines with tools/infer.py --token-ids.");
  }
  for (const Sequence& ids : question.inputs.begin()->second) question.inputs[MASK].emplace_back(ids.size(), 1);
  const std::size_t count = question.inputs[MASK].size();
  require(task.form == CANDIDATE ? count > 0 : count == 1,
          place + std::to_string(count) + " sequences, where the task has one" +
              (task.form == CANDIDATE ? " or more, one a candidate." : "."));
  for (const auto& [name, sequences] : question.inputs) {
    require(sequences.size() == count, place + name + " has another number of sequences than the other inputs.");
    for (std::size_t row = 0; row < count; ++row) {
      const std::size_t length = sequences[row].size();
      require(length == question.tokens()[row].size(), place + name + " has another length than the other inputs.");
      require(length > 0 && length <= task.max_length, place + "a sequence of " + std::to_string(length) +
                                                           " tokens; the model takes 1 to " +
                                                           std::to_string(task.max_length) + ".");
    }
  }
  return question;
}

// float32 [rows, outputs] of the questions' sequences one below the other, or [rows, outputs, length]; length is set.
std::vector<float> logits_of(paddle_infer::Predictor& predictor, const Task& task,
                             const std::vector<Question>& questions, std::size_t& length) {
  std::size_t rows = 0;
  for (const Question& question : questions) {
    for (const Sequence& tokens : question.tokens()) length = std::max(length, tokens.size());
    rows += question.tokens().size();
  }
  for (const auto& [name, below] : task.inputs) {
    Sequence padded(rows * length, 0);  // any id does where the mask is 0
    auto place = padded.begin();
    for (const Question& question : questions) {
      for (const Sequence& values : question.inputs.at(name)) {
        std::copy(values.begin(), values.end(), place);
        place += length;
      }
    }
    const auto input = predictor.GetInputHandle(name);
    input->Reshape({static_cast<int>(rows), static_cast<int>(length)});
    input->CopyFromCpu(padded.data());
  }
  if (!predictor.Run()) throw std::runtime_error("Paddle could not run the network");
  const auto output = predictor.GetOutputHandle(predictor.GetOutputNames().at(0));
  std::size_t size = 1;
  for (const int side : output->shape()) size *= static_cast<std::size_t>(side);
  require(size == rows * task.outputs * (task.form == POSITION ? length : 1),
          "task.json: says other outputs than the network has." + std::string(COPY_AGAIN));
  std::vector<float> logits(size);
  output->CopyToCpu(logits.data());
  for (const float logit : logits)
    require(std::isfinite(logit), WEIGHTS + std::string(": gives logits that are not finite.") + COPY_AGAIN);
  return logits;
}

void answer(paddle_infer::Predictor& predictor, const Task& task, const std::vector<Question>& questions) {
  std::size_t length = 0;
  const std::vector<float> logits = logits_of(predictor, task, questions, length);
  const float* next = logits.data();
  for (const Question& question : questions) {
    json record = {{"id", question.id}};
    if (task.form == POSITION) {
      const std::size_t tokens = question.tokens().front().size();
      record["logits"] = json::array();
      for (std::size_t output = 0; output < task.outputs; ++output, next += length)
        record["logits"].push_back(std::vector<float>(next, next + tokens));
    } else {
      const float* const end = next + question.tokens().size() * task.outputs;
      record["logits"] = std::vector<float>(next, end);
      if (!task.labels.empty()) record["label"] = task.labels[std::max_element(next, end) - next];
      next = end;
    }
    std::cout << record.dump() << '\n';
  }
  require(static_cast<bool>(std::cout.flush()), "the answers cannot be written to stdout.");
}

int number_after(const std::vector<std::string>& words, std::size_t place) {
  const std::string text = place + 1 < words.size() ? words[place + 1] : "";
  const bool digits = !text.empty() && text.size() < 5 && text.find_first_not_of("0123456789") == std::string::npos;
  require(digits && std::stoi(text) > 0, words[place] + ": a number from 1 to 9999 was due, not '" + text + "'.");
  return std::stoi(text);
}

void run(const std::vector<std::string>& words) {
  std::string folder;
  int threads = 1, batch = 1;
  for (std::size_t place = 0; place < words.size(); ++place) {
    if (words[place] == "--threads")
      threads = number_after(words, place++);
    else if (words[place] == "--batch")
      batch = number_after(words, place++);
    else if (folder.empty() && words[place].rfind("--", 0) != 0)
      folder = words[place];
    else
      throw InputError(USAGE);
  }
  require(!folder.empty(), USAGE);
  const Task task = read_task(folder);
  const auto predictor = load(folder, task, threads);
  std::vector<Question> questions;
  std::string text;
  for (std::size_t line = 1; std::getline(std::cin, text); ++line) {
    questions.push_back(read_question(text, line, task));
    if (questions.size() == static_cast<std::size_t>(batch)) {
      answer(*predictor, task, questions);
      questions.clear();
    }
  }
  if (!questions.empty()) answer(*predictor, task, questions);
}

int main(int count, char** words) {
  try {
    run(std::vector<std::string>(words + 1, words + count));
    return 0;
  } catch (const InputError& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 2;
  } catch (const std::exception& error) {  // Paddle's, or too little memory
    std::cerr << "error: " << error.what() << '\n';
    return 1;
  }
}
