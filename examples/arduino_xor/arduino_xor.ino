// A net that learns XOR on the board, and remembers it without power. For an Arduino Uno. First run
// make_net.py, which writes xor.c and xor.h. Then open the serial monitor at 9600 baud. Send "f" to
// make it forget.

#include <EEPROM.h>
#include "xor.h"

const float INPUTS[4][XOR_INPUTS] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}};
const float TARGETS[4][XOR_TARGETS] = {{0}, {1}, {1}, {0}};
const float RATE = 0.5;
const byte LEARNED = 42;  // stands in the EEPROM behind what was learned

float numbers[XOR_NUMBERS];  // a copy of what training changes
float beginning[XOR_NUMBERS];

void setup() {
  Serial.begin(9600);
  xor_save(beginning);
  if (EEPROM.read(sizeof numbers) == LEARNED) {
    EEPROM.get(0, numbers);
    xor_load(numbers);
  }
}

void loop() {
  float loss = 0;
  for (int i = 0; i < 400; i++) {  // three seconds
    loss += xor_train(INPUTS[i % 4], TARGETS[i % 4], RATE);
  }
  Serial.print("mean loss ");
  Serial.print(loss / 400, 6);
  for (int i = 0; i < 4; i++) {
    float output[XOR_OUTPUTS];
    xor_predict(INPUTS[i], output);
    Serial.print("  ");
    Serial.print(output[0], 2);
  }
  Serial.println();

  if (Serial.read() == 'f') {
    xor_load(beginning);
    EEPROM.write(sizeof numbers, 0);
  } else if (loss / 400 < 0.001 && EEPROM.read(sizeof numbers) != LEARNED) {
    xor_save(numbers);
    EEPROM.put(0, numbers);
    EEPROM.write(sizeof numbers, LEARNED);
    Serial.println("learned, and written to the EEPROM");
  }
}
