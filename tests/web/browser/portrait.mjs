/** Makes a picture of the page with a conversation as it could be. */
export async function portrait(stage, file) {
  const enter = (name) => stage.person(name, { room: 'release', deviceScaleFactor: 1, colorScheme: 'light' });
  const mira = await enter('Mira Okafor');
  const tomas = await enter('Tomás Silva');
  const jun = await enter('Jun');
  const priya = await enter('Priya Nair');

  const talk = [
    [tomas, 'Morning all. Release candidate 3 is on staging since 8:40.'],
    [tomas, 'Please try to break it before lunch.'],
    [jun, 'I pulled the cable on my laptop in the middle of it.'],
    [jun, 'Came back by itself, and the two messages I had typed went out once each 🎉'],
    [mira, 'Lovely. Then the only thing left is the changelog:\nhttps://example.org/roomcast/changes/42'],
    [priya, 'Reviewed, two small wording changes. I would merge it today.'],
    [mira, 'Merged, thank you! Tagging at noon if nobody objects.'],
  ];
  for (const [person, text] of talk) {
    await person.say(text);
    await person.sees_sent(text.split('\n')[0]);
    await mira.sees(text.split('\n')[0]);
  }

  await mira.join('design');
  await priya.join('design');
  await priya.say('New icons are in the folder.');
  await priya.say('Dark ones too.');
  await mira.open('lobby');
  await tomas.open('lobby');
  await tomas.say('Coffee machine is back.');
  await mira.page.locator('.message', { hasText: 'Coffee' }).waitFor();
  await mira.open('release');
  await jun.page.locator('#member-list button', { hasText: 'Mira' }).click();
  await jun.say('Lunch at one?');
  await mira.badge('Jun').filter({ hasText: '1' }).waitFor();
  await mira.open('design');
  await mira.open('release');
  await priya.say('And the light ones again, smaller.');
  await mira.badge('design').filter({ hasText: '1' }).waitFor();

  await tomas.open('release');
  await tomas.page.locator('#text').pressSequentially('No obj');
  await mira.page.locator('#typing', { hasText: 'typing' }).waitFor();
  await mira.page.fill('#text', 'See you at noon');
  await mira.page.screenshot({ path: file });
}
